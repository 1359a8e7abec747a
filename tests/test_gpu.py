"""Extraction and training on a GPU compared with the CPU; skipped on machines without a GPU."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foal.shared.store.feature_store import FeatureStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

Foal = Callable[..., "subprocess.CompletedProcess[str]"]

TRAIN = ("--set", "train.epochs=3", "--set", "train.bootstrap=50", "--threads", "1")


def run(foal_in: Foal, folder: Path, *arguments: str | Path) -> None:
    done = foal_in(folder, *arguments)
    assert done.returncode == 0, done.stderr


def extract(foal_in: Foal, folder: Path, corpus: Path, name: str, *options: str) -> Path:
    """Extract all sessions with small random encoders; return the features folder."""
    selection = ("--split", "all", "-m", "m.csv", "-r", corpus, "-j", "1", "--features-dir", name)
    run(foal_in, folder, "extract", *selection, *options)
    return folder / name / "feats.h5"


def frames(features: Path, stream: str) -> list[np.ndarray[Any, Any]]:
    """Return the frames (t, width) of every utterance."""
    with FeatureStore(features) as store:
        return [store.read(stream, row)[0].astype(np.float64) for row in range(len(store))]


@pytest.fixture(scope="module")
def on_cpu(foal_in: Foal, synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest, and `cpu`, a features folder extracted on the CPU; read-only."""
    folder = tmp_path_factory.mktemp("gpu")
    run(foal_in, folder, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv")
    extract(foal_in, folder, synthetic_corpus, "cpu", "--device", "cpu")
    return folder


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("tf32", 0.9999), ("bf16", 0.99), ("fp16", 0.999)])
def test_extraction_agrees_with_the_cpu(
    foal_in: Foal, on_cpu: Path, synthetic_corpus: Path, precision: str, least: float
) -> None:
    features = extract(foal_in, on_cpu, synthetic_corpus, precision, "--device", "cuda", "--precision", precision)
    for stream in ("audio", "face"):
        for expected, got in zip(frames(on_cpu / "cpu" / "feats.h5", stream), frames(features, stream), strict=True):
            assert got.shape == expected.shape
            norms = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
            cosines = (got * expected).sum(1)[norms > 0] / norms[norms > 0]
            assert np.median(cosines) > least


def metrics(foal_in: Foal, folder: Path, name: str, *options: str) -> dict[str, Any]:
    run(foal_in, folder, "train", "-f", "cpu/feats.h5", "-o", name, *TRAIN, *options)
    result: dict[str, Any] = json.loads((folder / name / "metrics.json").read_text(encoding="utf-8"))
    return result


def test_training_is_repeatable(foal_in: Foal, on_cpu: Path) -> None:
    first, again = (metrics(foal_in, on_cpu, name, "--device", "cuda") for name in ("first", "again"))
    assert first["folds"] == again["folds"]
    run(foal_in, on_cpu, "evaluate", "-f", "cpu/feats.h5", "--model", "first")


def test_training_in_float32_agrees_with_the_cpu(foal_in: Foal, on_cpu: Path) -> None:
    """Without dropout both devices draw the same random numbers; a few steps do not diverge by more than rounding."""
    without = [f"--set=train.{name}=0" for name in ("input_dropout", "dropout", "projection_dropout")]
    options = ["--set=train.precision=fp32", "--set=train.mem=false", *without]
    for device in ("cuda", "cpu"):
        metrics(foal_in, on_cpu, f"on-{device}", "--device", device, *options)
    losses = [loss_history(on_cpu / f"on-{device}") for device in ("cuda", "cpu")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def loss_history(folder: Path) -> list[float]:
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]
