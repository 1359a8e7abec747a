"""Batches and pooling of text encoders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from foal.extract.text.encoder import TextEncoder
from foal.extract.text.transcript import TextInput
from foal.tests.extract.text.small_text_models import TEXTS, make_sentence_encoder, save_text_model

Load = Callable[..., TextEncoder]
INPUTS = [TextInput(text=text) for text in TEXTS]


def test_batches_are_bounded_in_tokens_and_sorted_by_length(
    bert: Path, load_text: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    forward = torch.nn.Module.__call__

    def recorded(module: torch.nn.Module, *args: object, **options: object) -> object:
        ids = options.get("input_ids")
        if isinstance(ids, torch.Tensor) and type(module).__name__ == "BertModel":
            sizes.append((ids.shape[0], ids.shape[1]))
        return forward(module, *args, **options)

    monkeypatch.setattr(torch.nn.Module, "__call__", recorded)
    load_text(bert, batch_tokens=60).encode(INPUTS)
    assert sum(count for count, _ in sizes) == len(INPUTS)
    assert all(count * length <= 60 or count == 1 for count, length in sizes)
    assert 1 < len(sizes) < len(INPUTS)
    assert [length for _, length in sizes] == sorted((length for _, length in sizes), reverse=True)


@pytest.mark.parametrize("layers", ["last", "all"])
def test_one_row_per_utterance_is_the_mean_or_the_first_token(bert: Path, layers: str, load_text: Load) -> None:
    tokens = load_text(bert, layers=layers).encode(INPUTS)
    means = load_text(bert, layers=layers, pool="mean").encode(INPUTS)
    for every, mean in zip(tokens, means, strict=True):
        assert mean.values.shape == (1, *every.values.shape[1:])
        np.testing.assert_allclose(mean.values[0], every.values.mean(0), atol=1e-6)
    (first,) = load_text(bert, layers=layers, pool="cls").encode(INPUTS[:1])
    assert first.values.shape == means[0].values.shape
    assert np.abs(first.values - tokens[0].values[:1]).max() > 1e-3


@pytest.mark.parametrize("pooling", ["pooling_mode_mean_tokens", "pooling_mode_cls_token", "pooling_mode_max_tokens"])
def test_sentence_vectors_pool_all_tokens_and_have_unit_length(tmp_path: Path, pooling: str, load_text: Load) -> None:
    folder = make_sentence_encoder(save_text_model(tmp_path / "sentence", "mpnet"), pooling)
    single = [load_text(folder, pool="sentence").encode([words])[0].values for words in INPUTS]
    batched = load_text(folder, pool="sentence", batch_tokens=1000).encode(INPUTS)
    for alone, together in zip(single, batched, strict=True):
        assert alone.shape == (1, 16)
        assert np.linalg.norm(alone) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(alone, together.values, atol=1e-5)
    if pooling == "pooling_mode_cls_token":
        first = load_text(folder, pool="cls").encode(INPUTS[:1])[0].values
        np.testing.assert_allclose(single[0], first / np.linalg.norm(first), atol=1e-6)


def test_clip_encodes_only_what_stands_before_a_token(family: Path, load_text: Load) -> None:
    """A check of the comparison itself: a causal model differs from the others."""
    whole, beginning = (
        load_text(family).encode([TextInput(text=text)])[0].values[:3] for text in (TEXTS[0], TEXTS[0][:24])
    )
    assert (np.abs(whole - beginning).max() < 1e-5) == (family.name == "clip")
