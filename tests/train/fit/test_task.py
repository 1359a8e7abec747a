import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import StoreError
from foal.train.data.dataset import Dataset, open_dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.fit.baselines import Baseline
from foal.train.fit.history import Epoch
from foal.train.fit.task import FitTask, fold_score, load_result, run_task
from foal.train.metrics.classification import confusion, unweighted_accuracy

CPU = torch.device("cpu")
QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=2, batch_size=8)
Make = Callable[..., Dataset]


def task_in(folder: Path, **options: Any) -> FitTask:
    defaults: dict[str, Any] = {"settings": QUICK, "seed": 0, "fold": 1, "folder": folder}
    return FitTask(**{**defaults, **options})


def test_a_finished_fit_is_reused(tmp_path: Path, make_dataset: Make) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, None, data.speakers)
    epochs: list[Epoch] = []
    first = run_task(task_in(tmp_path), data, folds, CPU, progress=epochs.append)
    (path,) = tmp_path.iterdir()
    before = path.stat()
    second = run_task(task_in(tmp_path), data, folds, CPU, progress=epochs.append)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert epochs == [*first.history, *first.history]
    np.testing.assert_array_equal(second.probabilities, first.probabilities)
    assert replace(second, probabilities=first.probabilities) == first
    assert fold_score(data, folds.folds[0], second) == fold_score(data, folds.folds[0], first)


def test_a_fit_can_be_scored_on_its_development_group_without_the_test_group(
    tmp_path: Path, make_dataset: Make
) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, None, data.speakers)
    settings = QUICK.model_copy(update={"select": "ua", "refit": False})
    result = run_task(task_in(tmp_path, scored="dev", settings=settings), data, folds, CPU)
    fold = folds.folds[0]
    counts = confusion(data.labels[fold.dev_rows].numpy(), result.probabilities.argmax(1), 3)
    assert result.epoch is not None
    assert float(unweighted_accuracy(counts)) == result.history[result.epoch - 1].dev_ua
    no_test = replace(fold, test_rows=fold.test_rows[:0])
    task = task_in(tmp_path / "b", scored="dev", settings=settings)
    repeated = run_task(task, data, replace(folds, folds=(no_test,)), CPU)
    np.testing.assert_array_equal(repeated.probabilities, result.probabilities)


def test_every_setting_that_changes_a_result_changes_the_task_id(tmp_path: Path, make_dataset: Make) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, "loso-nested", data.speakers)
    tasks = {
        "seed": task_in(tmp_path, seed=1),
        "fold": task_in(tmp_path, fold=2),
        "baseline": task_in(tmp_path, baseline=Baseline()),
        "estimator": task_in(tmp_path, baseline=Baseline(estimator="mlp")),
        "parts": task_in(tmp_path, baseline=Baseline(parts=("std",))),
        "scored": task_in(tmp_path, scored="dev"),
    }
    for name, value in (
        ("epochs", 3),
        ("width", 32),
        ("avel", False),
        ("mem", False),
        ("compat", ("sum",)),
        ("load", "disk"),
        ("max_seconds", 1.0),
        ("frame_rate", None),
        ("modality_dropout", 0.1),
        ("schedule", "constant"),
        ("clip", None),
        ("warmup", 0.0),
        ("streams", ("audio",)),
        ("precision", "fp32"),
        ("early_stopping_patience", 3),
        ("batch_size", 4),
        ("normalize", "speaker"),
        ("select", "loss"),
        ("refit", False),
        ("pool", ("mean", "attention")),
        ("skip", False),
        ("skip_hidden", 16),
        ("input_limit", 2.0),
        ("initialization", "normal"),
        ("decay", "all"),
        ("input_dropout", 0.1),
        ("frame_dropout", 0.1),
        ("feed_forward", True),
        ("positions", True),
    ):
        tasks[name] = task_in(tmp_path, settings=QUICK.model_copy(update={name: value}))
    paths = {name: task.path(data, folds) for name, task in tasks.items()}
    base_path = task_in(tmp_path).path(data, folds)
    paths["features"] = task_in(tmp_path).path(replace(data, digest="other"), folds)
    paths["classes"] = task_in(tmp_path).path(replace(data, classes=data.classes[::-1]), folds)
    paths["encoder"] = task_in(tmp_path).path(replace(data, stream_names={"audio": "audio/x", "face": "face"}), folds)
    paths["folds_digest"] = task_in(tmp_path).path(
        data, build_cross_validation(data.utterances, "loso-reference", data.speakers)
    )
    assert len({base_path, *paths.values()}) == 1 + len(paths)
    for changes in ({"bootstrap": 20}, {"seeds": (0, 1)}):
        assert task_in(tmp_path, settings=QUICK.model_copy(update=changes)).path(data, folds) == base_path


def test_the_disk_buffer_changes_result_and_task_id(tmp_path: Path, feats: Path) -> None:
    """Features on disk are sampled chunk by chunk: the size of the buffer affects the batches."""
    results, paths = [], []
    for disk_buffer_mb in (0.0005, 1.0):
        settings = QUICK.model_copy(update={"load": "disk", "disk_buffer_mb": disk_buffer_mb})
        task = task_in(tmp_path / str(disk_buffer_mb), settings=settings)
        with open_dataset(feats, settings, classes=None) as data:
            folds = build_cross_validation(data.utterances, "loso-nested", data.speakers)
            results.append(run_task(task, data, folds, CPU).history)
            paths.append(task.path(data, folds).name)
    assert results[0] != results[1]
    assert paths[0] != paths[1]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"not a zip"])
def test_a_corrupt_result_is_refused_with_a_remedy(tmp_path: Path, make_dataset: Make, content: bytes) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, None, data.speakers)
    run_task(task_in(tmp_path, baseline=Baseline()), data, folds, CPU)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"\.npz: corrupt fit result .*; delete the file to recompute it"):
        run_task(task_in(tmp_path, baseline=Baseline()), data, folds, CPU)
    gc.collect()  # an open file would give a ResourceWarning
    path.unlink()
    run_task(task_in(tmp_path, baseline=Baseline()), data, folds, CPU)
    load_result(path)
