import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from rich.console import Console

from foal.shared.config.settings import Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import FoalError, StoreError, TrainingError, UsageError
from foal.shared.hdf5.checked_reader import write_strings
from foal.shared.hdf5.seal import write_seal
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import Entry, ShardReader, ShardWriter
from foal.shared.utterance import Utterance
from foal.train.data.dataset import Dataset, open_dataset
from foal.train.data.modality_dropout import drop_frames, drop_modality
from foal.train.evaluate.ensemble import assign_models, load_fold_models
from foal.train.evaluate.run import evaluate
from foal.train.fit.predict import predict
from foal.train.metrics.classification import pooled_scores
from foal.train.report.evaluation import evaluation_table
from foal.train.run import train

CPU = torch.device("cpu")
QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=2, batch_size=8, bootstrap=50, seeds=(0, 1))
SETTINGS = Settings(train=QUICK)
KEYS = {"audio": "0" * 64, "face": "0" * 64}
SCORES = (
    "ua_mean",
    "ua_std",
    "wa_mean",
    "wa_std",
    "f1_mean",
    "f1_std",
    "ua_ci95",
    "wa_ci95",
    "per_class_recall",
    "confusion",
)
PICTURES = ("calibration.png", "confusion.png", "overview.png")

NOTE = (
    "{} utterances are of a corpus or session that the run did not contain: "
    "their scores are averages of all networks of a seed"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture
def run(place: Path, some_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """A run of two seeds over three sessions, and its evaluation beside it; created once, read only."""
    if not (place / "run").exists():
        train(SETTINGS, make_index(place, some_utterances), place / "run")
        evaluate(SETTINGS, place / "run", place / "feats.h5", place / "evaluation")
    return place / "run"


@pytest.fixture
def feats(run: Path) -> Path:
    return run.parent / "feats.h5"


@pytest.fixture
def evaluation(run: Path) -> dict[str, Any]:
    return read(run.parent / "evaluation")


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


def labels_of(utterances: Sequence[Utterance]) -> np.ndarray:
    return np.array([("hap", "sad").index(u.label) for u in utterances])


def tables_of(run: Path, data: Dataset, rows: torch.Tensor, **how: Any) -> np.ndarray:
    """Probabilities of the run's six networks for m rows, (2, 3, m, 2)."""
    models = load_fold_models(run)
    tables = [predict(fold_model.model, data, rows, batch_size=5, device=CPU, **how).numpy() for fold_model in models]
    return np.stack(tables).reshape(2, 3, len(rows), 2)


def indexed_as(run: Path, folder: Path, utterances: Sequence[Utterance]) -> Path:
    """An index of the same features for other manifest rows."""
    shutil.copytree(run.parent / "features", folder / "features")
    write_index(folder / "feats.h5", utterances, folder / "features", KEYS)
    return folder / "feats.h5"


def with_flags(run: Path, folder: Path, modality: str, keep: Callable[[int], np.ndarray]) -> Path:
    """The same features, with only the frames `keep(t)` of a modality valid."""
    shutil.copytree(run.parent, folder)
    for path in (folder / "features").glob(f"*/{modality}-*/*.h5"):
        with ShardReader(path) as shard:
            entries: list[Entry] = [shard.entry(row) for row in range(len(shard.ids))]
            header = shard.header
        with ShardWriter(path, header, dtype="float16") as writer:
            for entry in entries:
                writer.add(replace(entry, valid=entry.valid & keep(len(entry.valid))))
    with FeatureStore(run.parent / "feats.h5") as store:
        write_index(folder / "feats.h5", store.utterances, folder / "features", KEYS)
    return folder / "feats.h5"


def test_scores_and_predictions_equal_those_of_training(
    run: Path, feats: Path, evaluation: dict[str, Any], some_utterances: list[Utterance]
) -> None:
    trained = read(run)
    assert {name: evaluation[name] for name in SCORES} == {name: trained[name] for name in SCORES}
    for name in ("protocol", "features", "seeds", "classes", "n", "modalities", "avel", "mem", "versions"):
        assert evaluation[name] == trained[name]
    assert evaluation["run"] == {name: trained[name] for name in ("features", "folds_digest", "versions")}
    assert evaluation["sessions"] == ["all"]
    assert not any("left out" in note or "corpus" in note for note in evaluation["warnings"])
    assert sum("random weights" in note for note in evaluation["warnings"]) == 1
    # Every utterance is scored by the network of the fold that tested it.
    rows = list(csv.DictReader(StringIO((run / "predictions.csv").read_text(encoding="utf-8"))))
    with open_dataset(feats, QUICK, classes=None) as data:
        all_rows = torch.arange(len(data))
        tables = tables_of(run, data, all_rows)
        ensembles = assign_models(load_fold_models(run), data, all_rows)
    assert list(ensembles) == [0, 1]
    for row in rows:
        number = int(row["id"][1:])
        assert row["fold"] == some_utterances[number].session
        ours = tables[int(row["seed"]), number % 3, number, 1]
        assert float(row["p_sad"]) == pytest.approx(ours, abs=2e-6)
        (fold_model,) = (
            fold_model
            for fold_model, member_rows in ensembles[int(row["seed"])].members
            if number in member_rows.tolist()
        )
        assert (fold_model.test, fold_model.seed) == (row["fold"], int(row["seed"]))


def test_the_evaluation_writes_its_files_and_consistent_counts(
    run: Path, evaluation: dict[str, Any], some_utterances: list[Utterance]
) -> None:
    folder = run.parent / "evaluation"
    assert sorted(os.listdir(folder)) == sorted([*PICTURES, "metrics.json"])
    for name in PICTURES:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    confusion = np.array(evaluation["confusion"])
    assert confusion.sum() == 2 * 18
    for place, (label, scores) in enumerate(evaluation["per_class"].items()):
        assert scores["n"] == sum(u.label == label for u in some_utterances) == 9
        assert scores["recall"] == pytest.approx(confusion[place, place] / confusion[place].sum())
        predicted = confusion[:, place].sum()
        assert scores["precision"] == pytest.approx(confusion[place, place] / predicted if predicted else 0)
    for table, names in (
        ("per_speaker", {f"test/s{i}": 3 for i in range(6)}),
        ("per_session", dict.fromkeys(("session1", "session2", "session3"), 6)),
    ):
        assert {name: scores["n"] for name, scores in evaluation[table].items()} == names
        # The groups have equal sizes: the mean of their accuracies is the accuracy of all.
        shares = [scores["wa_mean"] for scores in evaluation[table].values()]
        assert np.mean(shares) == pytest.approx(evaluation["wa_mean"])
    bins = evaluation["calibration"]["bins"]
    assert len(bins["counts"]) == 15
    assert sum(bins["counts"]) == 2 * 18
    assert [value is None for value in bins["confidence"]] == [count == 0 for count in bins["counts"]]
    accuracy = sum(share * count for share, count in zip(bins["accuracy"], bins["counts"], strict=True) if count)
    assert accuracy / 36 == pytest.approx(evaluation["wa_mean"])
    assert 0 <= evaluation["calibration"]["ece_mean"] <= 1


def test_retrieval_and_matching_scores_are_complete(evaluation: dict[str, Any]) -> None:
    assert list(evaluation["retrieval"]) == [
        f"{space}: {way}" for space in ("avel", "raw") for way in ("audio to face", "face to audio")
    ]
    for scores in evaluation["retrieval"].values():
        assert scores.keys() == {"map", "r1", "chance"}
        assert all(0 <= score <= 1 for score in scores.values())
    matching = dict(evaluation["matching"])
    assert 18 < matching.pop("pairs") <= 2 * 3 * 18
    assert matching.keys() == {"accuracy", "auc", "auc_own", "auc_other"}
    assert all(0 <= score <= 1 for score in matching.values())


def test_a_repeated_evaluation_gives_the_same_metrics(run: Path, feats: Path, tmp_path: Path) -> None:
    first = (run.parent / "evaluation" / "metrics.json").read_bytes()
    evaluate(SETTINGS, run, feats, tmp_path / "out")
    assert (tmp_path / "out" / "metrics.json").read_bytes() == first
    # Replaces the first one, with features read from disk.
    streamed = Settings(train=QUICK.model_copy(update={"load": "disk", "disk_buffer_mb": 0.0005}))
    again = evaluate(streamed, run, feats, tmp_path / "out")
    assert {name: again[name] for name in SCORES} == {name: read(run)[name] for name in SCORES}
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*PICTURES, "metrics.json"])


def test_selected_sessions_only_are_evaluated(
    run: Path, feats: Path, evaluation: dict[str, Any], some_utterances: list[Utterance], tmp_path: Path
) -> None:
    select = evaluate(SETTINGS, run, feats, tmp_path / "out", sessions=["session1"])
    assert (select["n"], select["sessions"]) == (6, ["session1"])
    assert select["per_session"] == {"session1": evaluation["per_session"]["session1"]}
    assert {name: s["n"] for name, s in select["per_speaker"].items()} == {"test/s0": 3, "test/s3": 3}
    assert not any("left out" in note for note in select["warnings"])


def test_an_unknown_session_is_refused(run: Path, feats: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown split 'session9'"):
        evaluate(SETTINGS, run, feats, tmp_path / "none", sessions=["session9"])
    assert not (tmp_path / "none").exists()


def test_a_single_network_scores_only_its_test_session(
    run: Path, feats: Path, evaluation: dict[str, Any], tmp_path: Path
) -> None:
    model = run / "models" / "seed1-fold2"
    alone = evaluate(SETTINGS, model, feats, tmp_path / "out")
    assert (alone["n"], alone["seeds"], list(alone["per_session"])) == (6, [1], ["session2"])
    assert "12 utterances left out: the networks were trained on their session, or may have been" in alone["warnings"]
    assert alone["ua_std"] is None
    (fold,) = (fold for fold in read(run)["folds"] if (fold["seed"], fold["fold"]) == (1, 2))
    assert (alone["ua_mean"], alone["wa_mean"], alone["f1_mean"]) == (fold["ua"], fold["wa"], fold["f1"])
    with pytest.raises(TrainingError, match="all 6 utterances are of groups that its networks were trained on"):
        evaluate(SETTINGS, model, feats, tmp_path / "none", sessions=["session1"])
    assert not (tmp_path / "none").exists()


def test_another_corpus_is_scored_by_the_average_of_all_networks(
    run: Path, some_utterances: list[Utterance], tmp_path: Path
) -> None:
    others = [replace(u, corpus="other") for u in some_utterances]
    feats = indexed_as(run, tmp_path, others)
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
    run: Path, some_utterances: list[Utterance], tmp_path: Path
) -> None:
    mixed = [replace(u, corpus="other", session="") if i % 2 else u for i, u in enumerate(some_utterances)]
    feats = run_over(mixed, run, tmp_path)
    whole = evaluate(SETTINGS, run, feats, tmp_path / "whole")
    assert whole["n"] == 18
    assert {name: scores["n"] for name, scores in whole["per_session"].items()} == {
        "session1": 3,
        "session2": 3,
        "session3": 3,
        "unknown": 9,
    }
    assert NOTE.format(9) in whole["warnings"]
    other = evaluate(SETTINGS, run, feats, tmp_path / "other", sessions=["other"])
    assert (other["n"], list(other["per_session"])) == (9, ["unknown"])


def test_no_note_on_new_utterances_that_are_not_evaluated(
    run: Path, some_utterances: list[Utterance], tmp_path: Path
) -> None:
    mixed = [replace(u, corpus="other", session="") if i % 2 else u for i, u in enumerate(some_utterances)]
    own = evaluate(SETTINGS, run, run_over(mixed, run, tmp_path), tmp_path / "own", sessions=["session2"])
    assert own["n"] == 3
    assert not any("did not contain" in note for note in own["warnings"])


def run_over(utterances: Sequence[Utterance], run: Path, folder: Path) -> Path:
    """An index over the run's shards, with corpus and session of other utterances."""
    feats = shutil.copytree(run.parent, folder / "mixed") / "feats.h5"
    with h5py.File(feats, "r+") as file:
        for column in ("corpus", "session"):
            del file["utterances"][column]
            write_strings(file["utterances"], **{column: [getattr(u, column) for u in utterances]})
    write_seal(feats)
    return feats


@pytest.mark.parametrize(
    ("condition", "modality", "keep", "transform"),
    [
        ("audio removed", "audio", lambda t: np.zeros(t, bool), partial(drop_modality, modality="audio")),
        ("face removed", "face", lambda t: np.zeros(t, bool), partial(drop_modality, modality="face")),
        ("face rate halved", "face", lambda t: np.arange(t) % 2 == 0, partial(drop_frames, modality="face")),
    ],
    ids=["without audio", "without faces", "half of the faces"],
)
def test_robustness_equals_the_scores_of_reduced_features(
    run: Path,
    feats: Path,
    evaluation: dict[str, Any],
    tmp_path: Path,
    condition: str,
    modality: str,
    keep: Callable[[int], np.ndarray],
    transform: Callable[..., Any],
) -> None:
    assert list(evaluation["robustness"]) == ["complete", "audio removed", "face removed", "face rate halved"]
    names = ("ua_mean", "ua_std", "wa_mean", "f1_mean")
    assert evaluation["robustness"]["complete"] == {name: evaluation[name] for name in names}
    rarer = with_flags(run, tmp_path / "rarer", modality, keep)
    found = evaluate(SETTINGS, run, rarer, tmp_path / "out")
    assert evaluation["robustness"][condition] == {name: found[name] for name in names}
    all_rows = torch.arange(18)
    with open_dataset(feats, QUICK, classes=None) as data, open_dataset(rarer, QUICK, classes=None) as other:
        less = tables_of(run, other, all_rows)
        np.testing.assert_array_equal(tables_of(run, data, all_rows, transform=transform), less)
        assert np.abs(tables_of(run, data, all_rows) - less).max() > 1e-3  # the condition does something


@pytest.mark.parametrize("modality", ["audio", "face"])
def test_a_run_of_one_modality_has_no_cross_modal_scores(feats: Path, tmp_path: Path, modality: str) -> None:
    settings = Settings(train=QUICK.model_copy(update={"modalities": modality, "epochs": 1, "seeds": (0,)}))
    trained = train(settings, feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "out")
    assert {name: metrics[name] for name in SCORES} == {name: trained[name] for name in SCORES}
    assert not metrics.keys() & {"robustness", "retrieval", "matching"}
    assert metrics["calibration"]["ece_std"] is None
    shown(metrics)


def test_a_run_without_alignment_and_matching_has_no_matching_scores(feats: Path, tmp_path: Path) -> None:
    settings = Settings(train=QUICK.model_copy(update={"avel": False, "mem": False, "epochs": 1, "seeds": (0,)}))
    train(settings, feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "out")
    assert metrics["matching"] is None
    assert shown(metrics).count("without a modality") == 0


def shown(metrics: dict[str, Any]) -> str:
    console = Console(width=100, record=True, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(evaluation_table(metrics))
    return console.export_text()


def test_the_printed_table_has_all_scores(evaluation: dict[str, Any]) -> None:
    text = shown(evaluation)
    for words in (
        "audio and face + AVEL + MEM (encoder with random weights)",
        "18 utterances, loso-nested",
        "2 seeds",
        "complete",
        "audio removed",
        "face rate halved",
        "95% interval by speaker",
        "recall: hap",
        "ECE",
        "avel: audio to face",
        "matching: accuracy",
        "warning: random weights",
    ):
        assert words in text


def test_a_run_over_speakers_is_scored_as_in_training(feats: Path, tmp_path: Path) -> None:
    changes = {"protocol": "speakers-nested", "epochs": 1, "seeds": (0,), "modalities": "audio"}
    trained = train(Settings(train=QUICK.model_copy(update=changes)), feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "out")
    assert {name: metrics[name] for name in SCORES} == {name: trained[name] for name in SCORES}
    assert sum(scores["n"] for scores in metrics["per_speaker"].values()) == 18
    assert {name: scores["n"] for name, scores in metrics["per_session"].items()} == {
        f"session{k}": 6 for k in (1, 2, 3)
    }


def test_selection_on_test_is_reported(feats: Path, tmp_path: Path) -> None:
    changes = {"protocol": "loso-reference", "epochs": 1, "seeds": (0,), "modalities": "face"}
    train(Settings(train=QUICK.model_copy(update=changes)), feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "run" / "evaluation")
    assert metrics["selected_on_test"] is True
    assert any(note.startswith("selected on test") for note in metrics["warnings"])


def test_other_features_and_foreign_folders_are_refused(run: Path, feats: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run.parent, tmp_path / "copy") / "feats.h5"
    with h5py.File(copy, "r+") as file:
        file["streams/face"].attrs["encoder"] = np.bytes_("facebook/other")
    write_seal(copy)
    with pytest.raises(TrainingError, match=r"expected face features of random:test .* got facebook/other .*feats\.h5"):
        evaluate(SETTINGS, run, copy, tmp_path / "out")
    with pytest.raises(StoreError, match="expected the folder of a finished `foal train`"):
        evaluate(SETTINGS, run.parent, feats, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    before = sorted(os.listdir(copy.parent / "run"))
    with pytest.raises(UsageError, match="expected a new folder or one of an earlier run, got other files"):
        evaluate(SETTINGS, run, feats, copy.parent / "run")
    assert sorted(os.listdir(copy.parent / "run")) == before


def test_a_run_with_its_evaluation_may_be_replaced(run: Path, feats: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    evaluate(SETTINGS, copy, feats, copy / "evaluation")
    settings = Settings(train=QUICK.model_copy(update={"epochs": 1, "seeds": (0,), "modalities": "audio"}))
    with pytest.raises(FoalError, match="a finished run exists"):
        train(settings, feats, copy)
    train(settings, feats, copy, force=True)
    assert read(copy)["modalities"] == "audio"
    assert not (copy / "evaluation").exists()
    assert os.listdir(tmp_path) == ["run"]
