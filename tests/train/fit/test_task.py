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
from foal.train.data.sequences import PackedSequences
from foal.train.fit.history import Epoch
from foal.train.fit.logistic_regression import mean_features, regress
from foal.train.fit.task import FitTask, fold_score, load_result, run_task

CPU = torch.device("cpu")
QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=2, batch_size=8)
Make = Callable[..., Dataset]


def task_in(folder: Path, **how: Any) -> FitTask:
    given: dict[str, Any] = {"kind": "network", "settings": QUICK, "seed": 0, "fold": 1, "folder": folder}
    return FitTask(**{**given, **how})


def test_a_fit_is_never_done_twice(tmp_path: Path, make_dataset: Make) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, None, data.speakers)
    heard: list[Epoch] = []
    first = run_task(task_in(tmp_path), data, folds, CPU, progress=heard.append)
    (path,) = tmp_path.iterdir()
    before = path.stat()
    again = run_task(task_in(tmp_path), data, folds, CPU, progress=heard.append)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert heard == [*first.history, *first.history]
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    assert replace(again, probabilities=first.probabilities) == first
    assert fold_score(data, folds.folds[0], again) == fold_score(data, folds.folds[0], first)


def test_whatever_changes_a_result_makes_it_another_fit(tmp_path: Path, make_dataset: Make) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, "loso-nested", data.speakers)
    others = {
        "seed": task_in(tmp_path, seed=1),
        "fold": task_in(tmp_path, fold=2),
        "kind": task_in(tmp_path, kind="regression"),
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
        ("modalities", "audio"),
        ("precision", "fp32"),
        ("early_stopping_patience", 3),
        ("batch_size", 4),
    ):
        others[name] = task_in(tmp_path, settings=QUICK.model_copy(update={name: value}))
    paths = {name: task.path(data, folds) for name, task in others.items()}
    mine = task_in(tmp_path).path(data, folds)
    paths["features"] = task_in(tmp_path).path(replace(data, digest="other"), folds)
    paths["classes"] = task_in(tmp_path).path(replace(data, classes=data.classes[::-1]), folds)
    paths["encoder"] = task_in(tmp_path).path(replace(data, stream_names={"audio": "audio/x", "face": "face"}), folds)
    paths["folds_digest"] = task_in(tmp_path).path(
        data, build_cross_validation(data.utterances, "loso-reference", data.speakers)
    )
    assert len({mine, *paths.values()}) == 1 + len(paths)
    for harmless in ({"bootstrap": 20}, {"seeds": (0, 1)}):
        assert task_in(tmp_path, settings=QUICK.model_copy(update=harmless)).path(data, folds) == mine


def test_settings_that_give_other_numbers_are_no_harmless_ones(tmp_path: Path, feats: Path) -> None:
    """Streamed features are drawn part by part: how much is in memory decides what a batch is made of."""
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
def test_a_damaged_result_says_what_to_do(tmp_path: Path, make_dataset: Make, content: bytes) -> None:
    data = make_dataset()
    folds = build_cross_validation(data.utterances, None, data.speakers)
    run_task(task_in(tmp_path, kind="regression"), data, folds, CPU)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"\.npz: corrupt fit result .*; delete the file to recompute it"):
        run_task(task_in(tmp_path, kind="regression"), data, folds, CPU)
    gc.collect()  # nobody has left the file open
    path.unlink()
    run_task(task_in(tmp_path, kind="regression"), data, folds, CPU)
    load_result(path)


def test_means_are_those_of_valid_frames(make_dataset: Make, make_stream: Callable[..., PackedSequences]) -> None:
    chance = torch.Generator().manual_seed(0)
    layered = [torch.randn(t, 2, 3, generator=chance).half() for t in (4, 1, 0, 5)]
    flat = [torch.randn(t, 2, generator=chance) for t in (2, 2, 2, 0)]
    flags = [torch.tensor(some) for some in ([True, False], [True, True], [False, False], [])]
    flags = [some.bool() for some in flags]
    data = make_dataset(4, streams={"audio": make_stream(layered), "face": make_stream(flat, flags)})
    means = mean_features(data)
    np.testing.assert_allclose(means["audio"][0], layered[0].float().mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(means["audio"][3], layered[3].float().mean((0, 1)), rtol=1e-5)
    assert np.isnan(means["audio"][2]).all()
    np.testing.assert_allclose(means["face"][0], flat[0][0])
    np.testing.assert_allclose(means["face"][1], flat[1].mean(0), rtol=1e-6)
    assert np.isnan(means["face"][2:]).all()


def test_a_regression_learns_and_never_looks_at_the_test_fold(
    make_dataset: Make, make_stream: Callable[..., PackedSequences]
) -> None:
    chance = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    audio = [torch.randn(4, 3, generator=chance) + 2 * torch.eye(3)[label] for label in labels]
    nothing = make_stream([torch.zeros(0, 2)] * 90)  # a modality that nobody has
    data = make_dataset(90, streams={"audio": make_stream(audio), "face": nothing})
    fold = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0]
    probabilities = regress(data, fold)
    assert probabilities.shape == (len(fold.test_rows), 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert (probabilities.argmax(1) == labels[fold.test_rows].numpy()).mean() > 0.85
    blind = replace(data, labels=labels.index_fill(0, fold.test_rows, 0))
    np.testing.assert_array_equal(regress(blind, fold), probabilities)
