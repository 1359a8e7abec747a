"""Padded batches: exact with masks, inexact without them."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    AutoModel,
)

from foal.extract.audio.padding import BatchInvariantModel
from foal.tests.extract.audio.waveforms import wave

CPU = torch.device("cpu")
Save = Callable[..., Path]


def test_batches_are_exact_in_double_precision(saved_per_module: Path) -> None:
    """In single precision, results differ between batches only by rounding."""
    model = BatchInvariantModel(AutoModel.from_pretrained(saved_per_module).double(), CPU)
    waves = [torch.from_numpy(wave(seconds, round(seconds * 100))).double() for seconds in (0.025, 0.3, 1.9, 0.7)]
    with torch.inference_mode():
        frames, (batched,) = model.hidden_states(waves, CPU, every=False)
        for samples, count, values in zip(waves, frames, batched, strict=True):
            _, (expected,) = model.hidden_states([samples], CPU, every=False)
            assert expected.shape[1] == count
            assert torch.linalg.norm(values[:count] - expected[0]) <= 1e-12 * torch.linalg.norm(expected)


def test_without_the_masks_padding_changes_the_result(tmp_path: Path, save: Save) -> None:
    """The same batch, encoded by transformers without this project's masks."""
    model = AutoModel.from_pretrained(save(tmp_path, "wav2vec2-group")).eval()
    short, long = wave(0.8), wave(2)
    padded = torch.zeros(2, len(long))
    padded[0, : len(short)], padded[1] = torch.from_numpy(short), torch.from_numpy(long)
    mask = torch.zeros(2, len(long), dtype=torch.long)
    mask[0, : len(short)], mask[1] = 1, 1
    with torch.inference_mode():
        single = model(torch.from_numpy(short)[None]).last_hidden_state[0]
        batched = model(padded, attention_mask=mask).last_hidden_state[0, : len(single)]
    assert torch.linalg.norm(batched - single) > 0.02 * torch.linalg.norm(single)
