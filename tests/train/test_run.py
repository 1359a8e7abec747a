import json
import os
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from foal.shared.cli.console import start_console
from foal.shared.cli.logs import configure_logging
from foal.shared.errors import TrainingError, UsageError
from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance
from foal.tests.train.quick_run import QUICK, read_csv, settings
from foal.train.fit.history import Epoch
from foal.train.fit.task import FoldScore
from foal.train.report.progress import training_progress
from foal.train.report.results import results_table
from foal.train.run import train

DESIGN_KEYS = {
    "protocol",
    "features",
    "seeds",
    "folds",
    "ua_mean",
    "ua_std",
    "wa_mean",
    "wa_std",
    "ua_ci95",
    "wa_ci95",
    "per_class_recall",
    "confusion",
}


@pytest.mark.usefixtures("drawn_figures")
def test_a_run_writes_all_its_files(feats: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "both"
    steps: list[Epoch | FoldScore] = []
    metrics = train(settings(seeds=(3, 5)), feats, out, progress=steps.append)
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert metrics.keys() >= DESIGN_KEYS | {"random_weights", "f1_mean", "n", "classes", "versions", "modalities"}
    assert metrics["random_weights"] is True
    assert any("random weights" in note for note in metrics["warnings"])
    assert metrics["seeds"] == [3, 5]
    assert [(fold["seed"], fold["test"], fold["dev"]) for fold in metrics["folds"][:3]] == [
        (3, "session1", "session2"),
        (3, "session2", "session3"),
        (3, "session3", "session1"),
    ]
    assert np.sum(metrics["confusion"]) == 2 * 18

    rows = read_csv(out / "predictions.csv")
    assert list(rows[0]) == ["seed", "id", "speaker", "fold", "label", "predicted", "p_hap", "p_sad"]
    assert len(rows) == 36
    hits = [row["label"] == row["predicted"] for row in rows]
    assert np.mean(hits) == pytest.approx(metrics["wa_mean"])
    assert all(float(row["p_hap"]) + float(row["p_sad"]) == pytest.approx(1, abs=2e-6) for row in rows)

    history = read_csv(out / "history.csv")
    assert len(history) == len([step for step in steps if isinstance(step, Epoch)])
    assert float(history[0]["loss_avel"]) > 0
    assert len([step for step in steps if isinstance(step, FoldScore)]) == 6
    for plot in ("confusion.png", "learning.png"):
        with Image.open(out / plot) as image:
            assert image.format == "PNG"
            assert min(image.size) > 300
    assert sorted(os.listdir(out / "models")) == [f"seed{s}-fold{k}" for s in (3, 5) for k in (1, 2, 3)]
    assert os.listdir(out.parent) == ["both"]


def test_the_same_command_gives_the_same_files(feats: Path, tmp_path: Path) -> None:
    train(settings(threads=1), feats, tmp_path / "first")
    torch.rand(3)
    train(settings(threads=1), feats, tmp_path / "second")
    for name in ("metrics.json", "predictions.csv", "history.csv", "models/seed0-fold2/model.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.parametrize("modality", ["audio", "face"])
def test_a_run_of_one_modality_trains_without_auxiliary_losses(feats: Path, tmp_path: Path, modality: str) -> None:
    metrics = train(settings(streams=(modality,)), feats, tmp_path / "run")
    assert metrics["modalities"] == modality
    assert metrics["avel"] is metrics["mem"] is False
    assert all(float(row["loss_avel"]) == 0 for row in read_csv(tmp_path / "run" / "history.csv"))


def test_a_failed_run_leaves_no_folder(
    tmp_path: Path, sample_utterances: list[Utterance], make_features: Callable[..., Path]
) -> None:
    features = make_features(tmp_path / "features", sample_utterances)
    keys = {"audio": "0" * 64, "face": "0" * 64}
    two_folds = [replace(u, fold=f"f{i // 2 % 2}") for i, u in enumerate(sample_utterances)]
    write_index(tmp_path / "feats.h5", two_folds, features, keys)
    with pytest.raises(TrainingError, match="at least three folds"):
        train(settings(), tmp_path / "feats.h5", tmp_path / "run")
    missing_class = [replace(u, label="hap" if u.session != "session1" else u.label) for u in sample_utterances]
    write_index(tmp_path / "feats.h5", missing_class, features, keys)
    with pytest.raises(TrainingError, match=r"fold 1 .* got none of sad"):
        train(settings(), tmp_path / "feats.h5", tmp_path / "run")
    write_index(tmp_path / "feats.h5", sample_utterances, features, keys)
    with pytest.raises(TrainingError, match="expected a width that 3 heads divide"):
        train(settings(heads=3), tmp_path / "feats.h5", tmp_path / "run")
    with pytest.raises(UsageError, match=r"cluster\.device is cuda:99, but PyTorch finds"):
        train(settings(device="cuda:99"), tmp_path / "feats.h5", tmp_path / "run")
    assert sorted(os.listdir(tmp_path)) == ["feats.h5", "features"]


def test_selection_on_test_is_reported(feats: Path, tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=100)
    metrics = train(settings(protocol="loso-reference", compat=("temperature", "sum")), feats, tmp_path / "run")
    assert metrics["selected_on_test"] is True
    assert metrics["compat"] == ["temperature", "sum"]
    assert [(fold["test"], fold["dev"]) for fold in metrics["folds"]] == [
        (f"session{k}", f"session{k}") for k in (1, 2, 3)
    ]
    assert any(note.startswith("selected on test") for note in metrics["warnings"])
    console.print(results_table(metrics))
    title = "audio and face + AVEL + MEM (compat: temperature, sum; selected on test; encoder with random weights)"
    assert title in " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    nested = train(settings(), feats, tmp_path / "nested")
    assert not any("selected on test" in note for note in nested["warnings"])
    assert (nested["selected_on_test"], nested["compat"]) == (False, [])
    assert nested["folds_digest"] != metrics["folds_digest"]


def test_train_dev_and_test_folds_of_the_manifest_are_used(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]
) -> None:
    with_folds = [
        replace(u, fold=("train", "train", "train", "train", "val", "val", "test")[i % 7])
        for i, u in enumerate(sample_utterances)
    ]
    metrics = train(settings(), make_index(tmp_path, with_folds), tmp_path / "run")
    assert metrics["protocol"] == "folds-nested"
    assert metrics["n"] == np.sum(metrics["confusion"]) == 2
    assert [row["id"] for row in read_csv(tmp_path / "run" / "predictions.csv")] == ["u6", "u13"]
    (fold,) = metrics["folds"]
    assert (fold["test"], fold["dev"], fold["n"]) == ("test", "dev", 2)


def test_features_read_from_disk_give_a_repeatable_run(feats: Path, tmp_path: Path) -> None:
    on_disk = settings(load="disk", disk_buffer_mb=0.0005, threads=1)
    runs = [train(on_disk, feats, tmp_path / name) for name in ("first", "second")]
    assert runs[0] == runs[1]
    assert runs[0]["features"] == train(settings(), feats, tmp_path / "memory")["features"]
    metadata = json.loads((tmp_path / "first" / "run.json").read_text())
    assert metadata["settings"]["load"] == "disk"
    assert metadata["threads"] == 1


def test_speakers_in_several_sessions_are_reported(
    tmp_path: Path, sample_utterances: list[Utterance], make_features: Callable[..., Path]
) -> None:
    shared = [replace(u, speaker="s1" if i < 2 else u.speaker) for i, u in enumerate(sample_utterances)]
    features = make_features(tmp_path / "features", shared)
    write_index(tmp_path / "feats.h5", shared, features, {"audio": "0" * 64})
    metrics = train(settings(streams=("audio",), epochs=1), tmp_path / "feats.h5", tmp_path / "run")
    assert (
        "1 of 6 speakers are in more than one session: the results are not speaker-independent" in metrics["warnings"]
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_fold_scores_and_table_are_printed(
    feats: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
) -> None:
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")
    console = start_console()
    configure_logging()
    with training_progress(QUICK) as progress:
        metrics = train(settings(seeds=(0, 1)), feats, tmp_path / "run", progress=progress)
    console.print(results_table(metrics))
    text = capsys.readouterr().out
    assert "random weights" in text
    assert text.count("on session3 (last epoch)") == 2
    for expected in (
        "session1",
        "all folds",
        "95% interval",
        "over seeds",
        "recall: hap",
        "AVEL + MEM",
        "warning: random",
    ):
        assert expected in text
