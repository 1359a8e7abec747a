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
    """A run of two seeds over three sessions, and its evaluation beside it; made once, and read only."""
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
    """What the run's six networks say of some rows, (2, 3, m, 2)."""
    models = load_fold_models(run)
    tables = [predict(fold_model.model, data, rows, batch_size=5, device=CPU, **how).numpy() for fold_model in models]
    return np.stack(tables).reshape(2, 3, len(rows), 2)


def indexed_as(run: Path, folder: Path, utterances: Sequence[Utterance]) -> Path:
    """The same features, of other rows of a manifest."""
    shutil.copytree(run.parent / "features", folder / "features")
    write_index(folder / "feats.h5", utterances, folder / "features", KEYS)
    return folder / "feats.h5"


def with_flags(run: Path, folder: Path, modality: str, keep: Callable[[int], np.ndarray]) -> Path:
    """The same features, of whose frames (t) of a modality only those are left that are kept."""
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


def test_a_run_is_found_as_it_said(
    run: Path, feats: Path, evaluation: dict[str, Any], some_utterances: list[Utterance]
) -> None:
    said = read(run)
    assert {name: evaluation[name] for name in SCORES} == {name: said[name] for name in SCORES}
    for name in ("protocol", "features", "seeds", "classes", "n", "modalities", "avel", "mem", "versions"):
        assert evaluation[name] == said[name]
    assert evaluation["run"] == {name: said[name] for name in ("features", "folds_digest", "versions")}
    assert evaluation["sessions"] == ["all"]
    assert not any("left out" in note or "corpus" in note for note in evaluation["warnings"])
    assert sum("random weights" in note for note in evaluation["warnings"]) == 1
    # Not only on average: every utterance by the fold that tested it.
    rows = list(csv.DictReader(StringIO((run / "predictions.csv").read_text(encoding="utf-8"))))
    with open_dataset(feats, QUICK, classes=None) as data:
        everybody = torch.arange(len(data))
        tables = tables_of(run, data, everybody)
        ensembles = assign_models(load_fold_models(run), data, everybody)
    assert list(ensembles) == [0, 1]
    for row in rows:
        number = int(row["id"][1:])
        assert row["fold"] == some_utterances[number].session
        ours = tables[int(row["seed"]), number % 3, number, 1]
        assert float(row["p_sad"]) == pytest.approx(ours, abs=2e-6)
        (fold_model,) = (
            fold_model for fold_model, some in ensembles[int(row["seed"])].members if number in some.tolist()
        )
        assert (fold_model.test, fold_model.seed) == (row["fold"], int(row["seed"]))


def test_counts_and_files(run: Path, evaluation: dict[str, Any], some_utterances: list[Utterance]) -> None:
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
        # As many in each: the mean over them is the accuracy of all.
        shares = [scores["wa_mean"] for scores in evaluation[table].values()]
        assert np.mean(shares) == pytest.approx(evaluation["wa_mean"])
    bins = evaluation["calibration"]["bins"]
    assert len(bins["counts"]) == 15
    assert sum(bins["counts"]) == 2 * 18
    assert [value is None for value in bins["confidence"]] == [count == 0 for count in bins["counts"]]
    accuracy = sum(share * count for share, count in zip(bins["accuracy"], bins["counts"], strict=True) if count)
    assert accuracy / 36 == pytest.approx(evaluation["wa_mean"])
    assert 0 <= evaluation["calibration"]["ece_mean"] <= 1


def test_retrieval_and_matching(evaluation: dict[str, Any]) -> None:
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


def test_twice_is_the_same(run: Path, feats: Path, tmp_path: Path) -> None:
    first = (run.parent / "evaluation" / "metrics.json").read_bytes()
    evaluate(SETTINGS, run, feats, tmp_path / "out")
    assert (tmp_path / "out" / "metrics.json").read_bytes() == first
    # Over the first one, streamed from the disk.
    streamed = Settings(train=QUICK.model_copy(update={"stream": True, "disk_buffer_mb": 0.0005}))
    again = evaluate(streamed, run, feats, tmp_path / "out")
    assert {name: again[name] for name in SCORES} == {name: read(run)[name] for name in SCORES}
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*PICTURES, "metrics.json"])


def test_some_splits(
    run: Path, feats: Path, evaluation: dict[str, Any], some_utterances: list[Utterance], tmp_path: Path
) -> None:
    select = evaluate(SETTINGS, run, feats, tmp_path / "out", sessions=["session1"])
    assert (select["n"], select["sessions"]) == (6, ["session1"])
    assert select["per_session"] == {"session1": evaluation["per_session"]["session1"]}
    assert {name: s["n"] for name, s in select["per_speaker"].items()} == {"test/s0": 3, "test/s3": 3}
    assert not any("left out" in note for note in select["warnings"])


def test_a_split_that_is_not_there(run: Path, feats: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown split 'session9'"):
        evaluate(SETTINGS, run, feats, tmp_path / "none", sessions=["session9"])
    assert not (tmp_path / "none").exists()


def test_one_network_judges_what_it_was_tested_on(
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


def test_another_corpus_is_judged_by_all_networks_together(
    run: Path, some_utterances: list[Utterance], tmp_path: Path
) -> None:
    others = [replace(u, corpus="other") for u in some_utterances]
    feats = indexed_as(run, tmp_path, others)
    metrics = evaluate(SETTINGS, run, feats, tmp_path / "out")
    assert metrics["n"] == 18
    assert NOTE.format(18) in metrics["warnings"]
    with open_dataset(feats, QUICK, classes=None) as data:
        means = tables_of(run, data, torch.arange(18)).mean(1)
        for seed, bench in assign_models(load_fold_models(run), data, torch.arange(18)).items():
            tables = [
                predict(fold_model.model, data, rows, batch_size=7, device=CPU) for fold_model, rows in bench.members
            ]
            np.testing.assert_allclose(bench.average(tables), means[seed], atol=1e-6)
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


def test_a_corpus_that_is_half_another_one(run: Path, some_utterances: list[Utterance], tmp_path: Path) -> None:
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


def test_nothing_is_said_of_a_corpus_that_is_not_judged(
    run: Path, some_utterances: list[Utterance], tmp_path: Path
) -> None:
    mixed = [replace(u, corpus="other", session="") if i % 2 else u for i, u in enumerate(some_utterances)]
    own = evaluate(SETTINGS, run, run_over(mixed, run, tmp_path), tmp_path / "own", sessions=["session2"])
    assert own["n"] == 3
    assert not any("did not know" in note for note in own["warnings"])


def run_over(utterances: Sequence[Utterance], run: Path, folder: Path) -> Path:
    """An index over the run's shards, whatever split they are filed under."""
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
def test_what_remains_is_what_such_features_would_give(
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
    everybody = torch.arange(18)
    with open_dataset(feats, QUICK, classes=None) as data, open_dataset(rarer, QUICK, classes=None) as other:
        less = tables_of(run, other, everybody)
        np.testing.assert_array_equal(tables_of(run, data, everybody, transform=transform), less)
        assert np.abs(tables_of(run, data, everybody) - less).max() > 1e-3  # the condition does something


@pytest.mark.parametrize("modality", ["audio", "face"])
def test_one_modality(feats: Path, tmp_path: Path, modality: str) -> None:
    settings = Settings(train=QUICK.model_copy(update={"modalities": modality, "epochs": 1, "seeds": (0,)}))
    said = train(settings, feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "out")
    assert {name: metrics[name] for name in SCORES} == {name: said[name] for name in SCORES}
    assert not metrics.keys() & {"robustness", "retrieval", "matching"}
    assert metrics["calibration"]["ece_std"] is None
    shown(metrics)


def test_without_alignment_or_matching(feats: Path, tmp_path: Path) -> None:
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


def test_what_is_shown(evaluation: dict[str, Any]) -> None:
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


def test_speakers_as_groups(feats: Path, tmp_path: Path) -> None:
    changes = {"protocol": "speakers-nested", "epochs": 1, "seeds": (0,), "modalities": "audio"}
    said = train(Settings(train=QUICK.model_copy(update=changes)), feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "out")
    assert {name: metrics[name] for name in SCORES} == {name: said[name] for name in SCORES}
    assert sum(scores["n"] for scores in metrics["per_speaker"].values()) == 18
    assert {name: scores["n"] for name, scores in metrics["per_session"].items()} == {
        f"session{k}": 6 for k in (1, 2, 3)
    }


def test_chosen_on_test_says_so(feats: Path, tmp_path: Path) -> None:
    changes = {"protocol": "loso-reference", "epochs": 1, "seeds": (0,), "modalities": "face"}
    train(Settings(train=QUICK.model_copy(update=changes)), feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "run" / "evaluation")
    assert metrics["selected_on_test"] is True
    assert any(note.startswith("selected on test") for note in metrics["warnings"])


def test_what_does_not_belong_together(run: Path, feats: Path, tmp_path: Path) -> None:
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
