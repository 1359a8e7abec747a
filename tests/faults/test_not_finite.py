"""Encoder output that is NaN or too large for float16: only the affected utterances fail."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

UTTERANCES = 8
FLOAT16_MAX = 65504.0


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "media").mkdir()
    for number in range(UTTERANCES):
        soundfile.write(tmp_path / "media" / f"{number}.wav", rng.normal(size=8000) / 9, 16000)
    rows = [Utterance(id=f"u{n}", corpus="c", label="hap", audio=f"{n}.wav", end=0.5) for n in range(UTTERANCES)]
    write_manifest(tmp_path / "m.csv", rows)
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(config).save_pretrained(tmp_path / "model")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "model")
    return tmp_path


def scale_output(folder: Path, factor: float) -> None:
    """Multiply the output of the model by a factor."""
    model = Wav2Vec2Model.from_pretrained(folder)
    with torch.no_grad():
        norm = model.encoder.layers[-1].final_layer_norm
        assert isinstance(norm, torch.nn.LayerNorm)
        for tensor in norm.parameters():
            tensor.mul_(factor)
    model.save_pretrained(folder)


def read_reasons(corpus: Path) -> dict[str, str]:
    with (corpus / "features" / "c" / "failures.csv").open(newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def test_utterances_with_invalid_encoder_output_fail(start: Any, trial: Any, corpus: Path) -> None:
    command = ["extract", "-s", "all", "-m", "m.csv", "-r", "media", "--streams", "audio", "-j", "1"]
    command += ["--audio-encoder", str(corpus / "model")]
    run = start(corpus, *command, "--dtype", "float32", "--index", "large.h5")
    assert run.finish() == 0, run.err
    with FeatureStore(corpus / "large.h5") as store:
        peaks = [float(np.abs(store.packed("audio", [row]).values).max()) for row in range(UTTERANCES)]
    scale_output(corpus / "model", FLOAT16_MAX / float(np.median(peaks)))
    too_large = {f"u{n}" for n, peak in enumerate(peaks) if peak > np.median(peaks)}
    with trial(
        "encoder output too large for float16",
        "the affected utterances are listed in failures.csv; the others are extracted",
        count=4,
    ):
        assert len(too_large) == 4
        run = start(corpus, *command)
        assert run.finish() == 3, run.err
        assert set(read_reasons(corpus)) == too_large
        assert all("set extract.dtype to float32" in reason for reason in read_reasons(corpus).values())
        run = start(corpus, *command, "--dtype", "float32")
        assert run.finish() == 0, run.err
    scale_output(corpus / "model", float("nan"))
    with trial("encoder output of NaN", "every utterance is listed in failures.csv; the run fails", count=UTTERANCES):
        run = start(corpus, *command)
        assert run.finish() == 1
        assert "none of the 8 utterances could be extracted" in run.err
        assert len(read_reasons(corpus)) == UTTERANCES
        assert all("NaN or infinite" in reason for reason in read_reasons(corpus).values())
        assert run.out.count("failed:") == UTTERANCES
