import csv
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from foal.shared.config.settings import Settings
from foal.shared.errors import FoalError, StoreError, TrainingError, UsageError
from foal.shared.hdf5.seal import write_seal
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import Entry, ShardReader, ShardWriter
from foal.shared.utterance import Utterance
from foal.tests.train.evaluate.quick_run import KEYS, QUICK, SCORES, SETTINGS, read, tables_of
from foal.train.data.dataset import open_dataset
from foal.train.data.modality_dropout import drop_frames, drop_modality
from foal.train.evaluate.ensemble import assign_models, load_fold_models
from foal.train.evaluate.run import evaluate
from foal.train.report.evaluation import evaluation_table
from foal.train.run import train

PLOTS = ("calibration.png", "confusion.png", "overview.png")


def with_flags(run: Path, folder: Path, modality: str, keep: Callable[[int], np.ndarray]) -> Path:
    """A copy of the features in which only the frames `keep(t)` of a modality are valid."""
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
    run: Path, feats: Path, evaluation: dict[str, Any], sample_utterances: list[Utterance]
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
        assert row["fold"] == sample_utterances[number].session
        expected = tables[int(row["seed"]), number % 3, number, 1]
        assert float(row["p_sad"]) == pytest.approx(expected, abs=2e-6)
        (fold_model,) = (
            fold_model
            for fold_model, member_rows in ensembles[int(row["seed"])].members
            if number in member_rows.tolist()
        )
        assert (fold_model.test, fold_model.seed) == (row["fold"], int(row["seed"]))


def test_the_evaluation_writes_its_files_and_consistent_counts(
    run: Path, evaluation: dict[str, Any], sample_utterances: list[Utterance]
) -> None:
    folder = run.parent / "evaluation"
    assert sorted(os.listdir(folder)) == sorted([*PLOTS, "metrics.json"])
    for name in PLOTS:
        with Image.open(folder / name) as image:
            assert image.format == "PNG"
            assert min(image.size) > 300
    confusion = np.array(evaluation["confusion"])
    assert confusion.sum() == 2 * 18
    for index, (label, scores) in enumerate(evaluation["per_class"].items()):
        assert scores["n"] == sum(u.label == label for u in sample_utterances) == 9
        assert scores["recall"] == pytest.approx(confusion[index, index] / confusion[index].sum())
        predicted = confusion[:, index].sum()
        assert scores["precision"] == pytest.approx(confusion[index, index] / predicted if predicted else 0)
    for table, names in (
        ("per_speaker", {f"test/s{i}": 3 for i in range(6)}),
        ("per_session", dict.fromkeys(("session1", "session2", "session3"), 6)),
    ):
        assert {name: scores["n"] for name, scores in evaluation[table].items()} == names
        # The groups have equal sizes: the mean of their accuracies is the accuracy over all utterances.
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
        f"{space}: {direction}" for space in ("avel", "raw") for direction in ("audio to face", "face to audio")
    ]
    for scores in evaluation["retrieval"].values():
        assert scores.keys() == {"map", "r1", "chance", "queries", "available"}
        assert all(0 <= scores[key] <= 1 for key in ("map", "r1", "chance"))
    matching = dict(evaluation["matching"])
    assert 18 < matching.pop("pairs") <= 2 * 3 * 18
    assert matching.keys() == {"accuracy", "auc", "auc_own", "auc_other"}
    assert all(0 <= score <= 1 for score in matching.values())


def test_a_repeated_evaluation_gives_the_same_metrics(run: Path, feats: Path, tmp_path: Path) -> None:
    first = (run.parent / "evaluation" / "metrics.json").read_bytes()
    evaluate(SETTINGS, run, feats, tmp_path / "out")
    assert (tmp_path / "out" / "metrics.json").read_bytes() == first
    # Replaces the first evaluation, with features read from disk.
    on_disk = Settings(train=QUICK.model_copy(update={"load": "disk", "disk_buffer_mb": 0.0005}))
    repeated = evaluate(on_disk, run, feats, tmp_path / "out")
    assert {name: repeated[name] for name in SCORES} == {name: read(run)[name] for name in SCORES}
    assert sorted(os.listdir(tmp_path / "out")) == sorted([*PLOTS, "metrics.json"])


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
    reduced = with_flags(run, tmp_path / "reduced", modality, keep)
    metrics = evaluate(SETTINGS, run, reduced, tmp_path / "out")
    assert evaluation["robustness"][condition] == {name: metrics[name] for name in names}
    all_rows = torch.arange(18)
    with open_dataset(feats, QUICK, classes=None) as data, open_dataset(reduced, QUICK, classes=None) as reduced_data:
        reduced_tables = tables_of(run, reduced_data, all_rows)
        np.testing.assert_array_equal(tables_of(run, data, all_rows, transform=transform), reduced_tables)
        assert np.abs(tables_of(run, data, all_rows) - reduced_tables).max() > 1e-3  # the condition has an effect


@pytest.mark.parametrize("modality", ["audio", "face"])
def test_a_run_of_one_modality_has_no_cross_modal_scores(feats: Path, tmp_path: Path, modality: str) -> None:
    settings = Settings(train=QUICK.model_copy(update={"streams": (modality,), "epochs": 1, "seeds": (0,)}))
    trained = train(settings, feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "out")
    assert {name: metrics[name] for name in SCORES} == {name: trained[name] for name in SCORES}
    assert not metrics.keys() & {"robustness", "retrieval", "matching"}
    assert metrics["calibration"]["ece_std"] is None
    render_table(metrics)


def test_a_run_without_alignment_and_matching_has_no_matching_scores(feats: Path, tmp_path: Path) -> None:
    settings = Settings(train=QUICK.model_copy(update={"avel": False, "mem": False, "epochs": 1, "seeds": (0,)}))
    train(settings, feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "out")
    assert metrics["matching"] is None
    assert render_table(metrics).count("without a modality") == 0


def render_table(metrics: dict[str, Any]) -> str:
    console = Console(width=100, record=True, quiet=False, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file:
        console.print(evaluation_table(metrics))
    return console.export_text()


def test_the_printed_table_contains_all_scores(evaluation: dict[str, Any]) -> None:
    text = render_table(evaluation)
    for expected in (
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
        assert expected in text


def test_a_run_over_speakers_is_scored_as_in_training(feats: Path, tmp_path: Path) -> None:
    changes = {"protocol": "speakers-nested", "epochs": 1, "seeds": (0,), "streams": ("audio",)}
    trained = train(Settings(train=QUICK.model_copy(update=changes)), feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "out")
    assert {name: metrics[name] for name in SCORES} == {name: trained[name] for name in SCORES}
    assert sum(scores["n"] for scores in metrics["per_speaker"].values()) == 18
    assert {name: scores["n"] for name, scores in metrics["per_session"].items()} == {
        f"session{k}": 6 for k in (1, 2, 3)
    }


def test_selection_on_test_is_reported(feats: Path, tmp_path: Path) -> None:
    changes = {"protocol": "loso-reference", "epochs": 1, "seeds": (0,), "streams": ("face",)}
    train(Settings(train=QUICK.model_copy(update=changes)), feats, tmp_path / "run")
    metrics = evaluate(SETTINGS, tmp_path / "run", feats, tmp_path / "run" / "evaluation")
    assert metrics["selected_on_test"] is True
    assert any(note.startswith("selected on test") for note in metrics["warnings"])


def test_features_of_another_encoder_and_unrelated_folders_are_refused(run: Path, feats: Path, tmp_path: Path) -> None:
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
    settings = Settings(train=QUICK.model_copy(update={"epochs": 1, "seeds": (0,), "streams": ("audio",)}))
    with pytest.raises(FoalError, match="a finished run exists"):
        train(settings, feats, copy)
    train(settings, feats, copy, force=True)
    assert read(copy)["modalities"] == "audio"
    assert not (copy / "evaluation").exists()
    assert os.listdir(tmp_path) == ["run"]
