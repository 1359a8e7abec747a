"""The CSV files of a run, and its warnings."""

import csv
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foal.train.data.dataset import Dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.fit.history import Epoch
from foal.train.fit.task import FitResult
from foal.train.report.files import (
    corpora_seen,
    selection_warnings,
    versions,
    warnings_for,
    write_predictions,
)
from foal.train.report.formatting import percent
from foal.train.report.results import run_title

TITLE: dict[str, Any] = {
    "modalities": "both",
    "avel": True,
    "mem": True,
    "compat": [],
    "selected_on_test": False,
    "random_weights": False,
}


def rows_in(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("seeds", [(0,), (0, 4)])
def test_predictions_have_a_seed_column_for_several_seeds(
    tmp_path: Path, make_dataset: Callable[..., Dataset], seeds: tuple[int, ...]
) -> None:
    data = make_dataset(6, c=2)
    tables = {seed: np.array([[0.25, 0.75], [0.5, 0.5]], np.float32) for seed in seeds}
    folds = [utterance.session for utterance in data.utterances]
    write_predictions(tmp_path / "p.csv", data, torch.tensor([1, 4]), tables, folds)
    rows = rows_in(tmp_path / "p.csv")
    assert [row["id"] for row in rows] == ["u1", "u4"] * len(seeds)
    assert [row.get("seed") for row in rows] == ([None] * 2 if len(seeds) == 1 else ["0", "0", "4", "4"])
    first = rows[0]
    assert first["speaker"] == data.speakers[1]
    assert (first["fold"], first["label"], first["predicted"]) == ("session1", "b", "b")
    assert (first["p_a"], first["p_b"]) == ("0.250000", "0.750000")


def test_warnings_report_random_weights_and_selection_on_test(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, "loso-reference", data.speakers)
    assert [warning.partition(":")[0] for warning in warnings_for(data, folds)] == [
        "random weights",
        "selected on test",
    ]


def test_percentages_and_versions_are_formatted() -> None:
    assert percent(0.5) == "50.0"
    assert versions().startswith("foal ")
    assert f"torch {torch.__version__}" in versions()


def fit_of(fold: int, dev_ua: float) -> FitResult:
    scores = {"loss": 1.0, "loss_classes": 1.0, "loss_avel": 0.0, "loss_mem": 0.0, "dev_loss": 0.5, "dev_wa": 0.5}
    epoch = Epoch(seed=0, fold=fold, epoch=1, dev_ua=dev_ua, **scores)
    return FitResult(
        seed=0, fold=fold, epoch=1, seconds=0.0, history=(epoch,), probabilities=np.zeros((1, 2), np.float32)
    )


def test_a_solved_development_group_is_reported(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, "loso-nested", data.speakers)
    fits = [fit_of(1, 1.0), fit_of(2, 0.9), fit_of(3, 1.0)]
    (warning,) = selection_warnings(data, folds, "ua", fits)
    assert warning.startswith("development group solved (UA 100%) in 2 of 3 fits: it cannot choose between epochs")
    assert selection_warnings(data, folds, "loss", fits) == []
    assert selection_warnings(data, folds, "last", fits) == []
    assert selection_warnings(data, folds, "ua", fits[1:2]) == []


def test_a_development_group_of_a_single_class_is_reported(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, "loso-nested", data.speakers)
    labels = data.labels.clone()
    labels[folds.folds[1].dev_rows] = 0
    (warning,) = selection_warnings(replace(data, labels=labels), folds, "loss", [])
    assert warning.startswith("development group of a single class in fold 2: it cannot choose an epoch; use")


def test_an_encoder_that_saw_the_corpus_is_in_warnings_and_title(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, "loso-nested", data.speakers)
    assert corpora_seen(data) == []
    entry = {"encoder": "superb-er", "corpora": ["test"], "fact": "it was fine-tuned on it", "source": "https://x"}
    seen = replace(data, provenance={**data.provenance, "audio": {"random_weights": False, "seen_corpora": [entry]}})
    (warning,) = corpora_seen(seen)
    assert warning.startswith("encoder saw the corpus: the encoder of audio (superb-er) was trained on labels of test")
    assert warning in warnings_for(seen, folds)
    assert run_title({**TITLE, "encoder_saw_corpus": True}) == "audio and face + AVEL + MEM (encoder saw the corpus)"
