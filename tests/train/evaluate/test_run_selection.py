"""Selection of utterances and networks: sessions, single networks and other corpora."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from foal.shared.errors import TrainingError, UsageError
from foal.shared.hdf5.checked_reader import write_strings
from foal.shared.hdf5.seal import write_seal
from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance
from foal.tests.train.evaluate.quick_run import CPU, KEYS, QUICK, SCORES, SETTINGS, read, tables_of
from foal.train.data.dataset import open_dataset
from foal.train.evaluate.ensemble import assign_models, load_fold_models
from foal.train.evaluate.run import evaluate
from foal.train.fit.predict import predict
from foal.train.metrics.classification import pooled_scores

NOTE = (
    "{} utterances are of a corpus or session that the run did not contain: "
    "their scores are averages of all networks of a seed"
)


def labels_of(utterances: Sequence[Utterance]) -> np.ndarray:
    return np.array([("hap", "sad").index(u.label) for u in utterances])


def index_with_rows(run: Path, folder: Path, utterances: Sequence[Utterance]) -> Path:
    """An index of the features of the run for the given manifest rows."""
    shutil.copytree(run.parent / "features", folder / "features")
    write_index(folder / "feats.h5", utterances, folder / "features", KEYS)
    return folder / "feats.h5"


def test_only_selected_sessions_are_evaluated(
    run: Path, feats: Path, evaluation: dict[str, Any], sample_utterances: list[Utterance], tmp_path: Path
) -> None:
    metrics = evaluate(SETTINGS, run, feats, tmp_path / "out", sessions=["session1"])
    assert (metrics["n"], metrics["sessions"]) == (6, ["session1"])
    assert metrics["per_session"] == {"session1": evaluation["per_session"]["session1"]}
    assert {name: s["n"] for name, s in metrics["per_speaker"].items()} == {"test/s0": 3, "test/s3": 3}
    assert not any("left out" in note for note in metrics["warnings"])


def test_an_unknown_session_is_refused(run: Path, feats: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown split 'session9'"):
        evaluate(SETTINGS, run, feats, tmp_path / "none", sessions=["session9"])
    assert not (tmp_path / "none").exists()


def test_a_single_network_scores_only_its_test_session(
    run: Path, feats: Path, evaluation: dict[str, Any], tmp_path: Path
) -> None:
    model = run / "models" / "seed1-fold2"
    metrics = evaluate(SETTINGS, model, feats, tmp_path / "out")
    assert (metrics["n"], metrics["seeds"], list(metrics["per_session"])) == (6, [1], ["session2"])
    assert "12 utterances left out: the networks were trained on their session, or may have been" in metrics["warnings"]
    assert metrics["ua_std"] is None
    (fold,) = (fold for fold in read(run)["folds"] if (fold["seed"], fold["fold"]) == (1, 2))
    assert (metrics["ua_mean"], metrics["wa_mean"], metrics["f1_mean"]) == (fold["ua"], fold["wa"], fold["f1"])
    with pytest.raises(TrainingError, match="all 6 utterances are of groups that its networks were trained on"):
        evaluate(SETTINGS, model, feats, tmp_path / "none", sessions=["session1"])
    assert not (tmp_path / "none").exists()


def test_another_corpus_is_scored_by_the_average_of_all_networks(
    run: Path, sample_utterances: list[Utterance], tmp_path: Path
) -> None:
    others = [replace(u, corpus="other") for u in sample_utterances]
    feats = index_with_rows(run, tmp_path, others)
    metrics = evaluate(SETTINGS, run, feats, tmp_path / "out")
    assert metrics["n"] == 18
    assert NOTE.format(18) in metrics["warnings"]
    with open_dataset(feats, QUICK, classes=None) as data:
        means = tables_of(run, data, torch.arange(18)).mean(1)
        for seed, ensemble in assign_models(load_fold_models(run), data, torch.arange(18)).items():
            tables = [
                predict(fold_model.model, data, rows, batch_size=7, device=CPU) for fold_model, rows in ensemble.members
            ]
            np.testing.assert_allclose(ensemble.average(tables), means[seed], atol=1e-6)
    scores = pooled_scores(
        labels_of(others),
        means.argmax(-1),
        [f"other/{u.speaker}" for u in others],
        classes=("hap", "sad"),
        resamples=QUICK.bootstrap,
    )
    assert {name: metrics[name] for name in SCORES} == {name: scores[name] for name in SCORES}
    confidence = [share for share in metrics["calibration"]["bins"]["confidence"] if share is not None]
    counts = [count for count in metrics["calibration"]["bins"]["counts"] if count]
    assert np.dot(confidence, counts) / 36 == pytest.approx(means.max(-1).mean(), abs=1e-6)
    assert metrics["features"] != metrics["run"]["features"] == read(run)["features"]


def test_a_mixed_corpus_is_scored_with_a_note_on_its_new_utterances(
    run: Path, sample_utterances: list[Utterance], tmp_path: Path
) -> None:
    mixed = [replace(u, corpus="other", session="") if i % 2 else u for i, u in enumerate(sample_utterances)]
    feats = index_with_columns(mixed, run, tmp_path)
    complete = evaluate(SETTINGS, run, feats, tmp_path / "complete")
    assert complete["n"] == 18
    assert {name: scores["n"] for name, scores in complete["per_session"].items()} == {
        "session1": 3,
        "session2": 3,
        "session3": 3,
        "unknown": 9,
    }
    assert NOTE.format(9) in complete["warnings"]
    other = evaluate(SETTINGS, run, feats, tmp_path / "other", sessions=["other"])
    assert (other["n"], list(other["per_session"])) == (9, ["unknown"])


def test_new_utterances_that_are_not_evaluated_give_no_note(
    run: Path, sample_utterances: list[Utterance], tmp_path: Path
) -> None:
    mixed = [replace(u, corpus="other", session="") if i % 2 else u for i, u in enumerate(sample_utterances)]
    metrics = evaluate(SETTINGS, run, index_with_columns(mixed, run, tmp_path), tmp_path / "own", sessions=["session2"])
    assert metrics["n"] == 3
    assert not any("did not contain" in note for note in metrics["warnings"])


def index_with_columns(utterances: Sequence[Utterance], run: Path, folder: Path) -> Path:
    """A copy of the index of the run, with the corpora and sessions of the given utterances."""
    feats = shutil.copytree(run.parent, folder / "mixed") / "feats.h5"
    with h5py.File(feats, "r+") as file:
        for column in ("corpus", "session"):
            del file["utterances"][column]
            write_strings(file["utterances"], **{column: [getattr(u, column) for u in utterances]})
    write_seal(feats)
    return feats
