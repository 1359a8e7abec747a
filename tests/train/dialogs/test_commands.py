"""The dialog head in the commands: train, resume, evaluate, tune, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from foal.shared.config.settings import Settings
from foal.shared.errors import StoreError, TrainingError, UsageError
from foal.tests.train.fits_in_process import requested_tasks  # noqa: F401  (a fixture)
from foal.tests.train.folds.scene_corpus import context_turn, scene_corpus
from foal.tests.train.quick_run import read_csv, settings
from foal.train.ablate.run import ablate
from foal.train.data.dataset import open_dataset
from foal.train.data.pooled import pooled_features
from foal.train.evaluate.run import evaluate
from foal.train.fit.task import FitTask
from foal.train.model.checkpoint import load_model
from foal.train.run import train
from foal.train.tune.run import tune

Foal = Callable[..., CompletedProcess[str]]
MakeIndex = Callable[..., Path]
UTTERANCES = scene_corpus(3, ("impro01", "script01"))
CONTEXT = context_turn(UTTERANCES[0])


def of(**changes: Any) -> Settings:
    return settings(**{"fusion": "dialog-gru", "width": 8, "epochs": 1, **changes})


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dialogs")


@pytest.fixture
def feats(workspace: Path, make_index: MakeIndex) -> Path:
    if not (workspace / "feats.h5").exists():
        make_index(workspace, [CONTEXT, *UTTERANCES])
    return workspace / "feats.h5"


@pytest.fixture
def run(feats: Path) -> Path:
    folder = feats.parent / "run"
    if not folder.exists():
        train(of(context="both"), feats, folder)
    return folder


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))


def test_results_name_the_head_and_its_context(run: Path, feats: Path, foal_here: Foal, tmp_path: Path) -> None:
    metrics = read(run)
    assert (metrics["fusion"], metrics["context"], metrics["reads_future"]) == ("dialog-gru", "both", True)
    assert (metrics["avel"], metrics["mem"]) == (False, False)
    assert metrics["n"] == len(UTTERANCES) == len(read_csv(run / "predictions.csv"))
    assert metrics["label_inertia"]["pairs"] > 0
    assert "context: 1 turn of these read by the dialog head" in " ".join(metrics["warnings"])
    shown = foal_here("results", run)
    assert "audio and face, dialog-gru, context both (reads the future" in shown.stdout
    assert "label inertia (diagnostic, reads labels)" in shown.stdout
    plain = train(settings(width=8, epochs=1), feats, tmp_path / "plain")
    assert (plain["fusion"], plain["context"], plain["reads_future"]) == ("cross-attention", None, False)
    assert "label_inertia" not in plain


def test_a_run_is_evaluated_as_it_was_tested(run: Path, feats: Path, tmp_path: Path) -> None:
    evaluated = evaluate(Settings(), run, feats, tmp_path / "evaluation")
    assert evaluated["ua_mean"] == pytest.approx(read(run)["ua_mean"])
    assert (evaluated["fusion"], evaluated["reads_future"]) == ("dialog-gru", True)
    assert list(evaluated["robustness"]) == ["complete", "audio removed", "face removed"]
    assert evaluated["matching"] is None
    assert evaluated["label_inertia"] == read(run)["label_inertia"]


def test_a_run_is_the_same_from_disk_resumed_and_in_another_folder(run: Path, feats: Path, tmp_path: Path) -> None:
    before = (run / "predictions.csv").read_bytes()
    assert train(of(context="both"), feats, run, resume=True)["fusion"] == "dialog-gru"
    train(of(context="both", load="disk"), feats, tmp_path / "disk")
    assert (tmp_path / "disk" / "predictions.csv").read_bytes() == before


def test_the_label_and_presence_of_context_are_no_training_data(
    run: Path, tmp_path: Path, make_index: MakeIndex
) -> None:
    other = make_index(tmp_path, [replace(CONTEXT, label="other"), *UTTERANCES])
    changed = settings(fusion="dialog-gru", width=8, epochs=1, context="both")
    changed = changed.model_copy(update={"corpus": changed.corpus.model_copy(update={"classes": ("a", "b", "c")})})
    train(changed, other, tmp_path / "run")
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()


def test_vectors_are_means_and_deviations_of_frames(feats: Path) -> None:
    with (
        open_dataset(feats, of().train, classes=None) as dialogs,
        open_dataset(feats, settings().train, classes=None) as frames,
    ):
        assert dialogs.ids == frames.ids
        assert [turn.id for turn in dialogs.context] == ["context"]
        assert dialogs.features.frame_shapes == {"audio": (16,), "face": (12,)}
        expected = pooled_features(frames, ("mean", "std"))
        (chunk,) = dialogs.features.iter_chunks(dialogs.labels.new_tensor(range(len(dialogs))))
        for name, table in expected.items():
            stream = chunk.streams[name]
            assert len(stream.lengths) == len(dialogs) + 1
            for row, vector in enumerate(table):
                assert bool(stream.valid[row]) != np.isnan(vector).any()
                if stream.valid[row]:
                    assert stream.values[row].tolist() == pytest.approx(vector.tolist(), abs=1e-6)


def test_speaker_statistics_are_those_of_the_vectors(feats: Path, tmp_path: Path) -> None:
    metrics = train(of(normalize="speaker"), feats, tmp_path / "run")
    assert metrics["speaker_statistics"]
    with open_dataset(feats, of(normalize="speaker").train, classes=None) as data:
        assert data.speaker_statistics is not None
        assert len(data.speaker_statistics.rows) == len(data) + 1
        assert data.speaker_statistics.tables["audio"].means.shape == (6, 16)


def test_a_checkpoint_refuses_the_weights_of_another_head(run: Path, feats: Path, tmp_path: Path) -> None:
    folder = run / "models" / "seed0-fold1"
    model, config = load_model(folder)
    assert config["architecture"]["fusion"] == model.architecture.fusion == "dialog-gru"
    train(settings(width=8, epochs=1), feats, tmp_path / "plain")
    other = tmp_path / "plain" / "models" / "seed0-fold1"
    weights = (folder / "model.safetensors").read_bytes()
    (other / "model.safetensors").write_bytes(weights)
    with pytest.raises(StoreError, match=r"expected weights of the head cross-attention, which config\.json names"):
        load_model(other)
    config["architecture"]["fusion"] = "hologram"
    (other / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(StoreError, match=r"expected a fusion of .*, got 'hologram'; update"):
        load_model(other)


def test_settings_of_the_head_are_searched(feats: Path, tmp_path: Path, requested_tasks: list[FitTask]) -> None:  # noqa: F811
    tuning = tune(of(protocol="erc-split"), feats, tmp_path / "tune", trials=2)
    assert {"learning_rate", "width", "skip"} <= tuning["trials"][0]["parameters"].keys()
    assert not {"layers", "pool", "avel_weight", "mem_weight"} & tuning["trials"][0]["parameters"].keys()
    assert {task.settings.fusion for task in requested_tasks} == {"dialog-gru"}


def test_unusable_input_is_refused_with_one_sentence(
    feats: Path, tmp_path: Path, make_index: MakeIndex, foal_here: Foal
) -> None:
    with pytest.raises(TrainingError, match=r"is in the folds .* of the protocol speakers-nested"):
        train(of(protocol="speakers-nested"), feats, tmp_path / "run")
    with pytest.raises(UsageError, match=r"foal ablate removes parts of Foal-Net, which train\.fusion: dialog"):
        ablate(of(), feats, tmp_path / "ablation")
    without = make_index(tmp_path, [replace(u, dialog="", turn=None) for u in UTTERANCES])
    with pytest.raises(TrainingError, match=r"a dialog head needs the column dialog .* empty for 36 of 36"):
        train(of(), without, tmp_path / "run")
    for arguments, message in (
        (("--fusion", "dialog-gru", "--mem"), "--mem: expected a head with MEM, got --fusion dialog-gru"),
        (
            ("--context", "both"),
            "train.context: both needs a head that reads dialogs, got train.fusion: cross-attention",
        ),
    ):
        result = foal_here("train", "--features", feats, *arguments, "--out", "refused")
        assert result.returncode == 2
        assert message in result.stderr.replace("\n", " ")
    assert not (tmp_path / "refused").exists()


@pytest.mark.slow
def test_workers_give_the_same_predictions(run: Path, feats: Path, tmp_path: Path) -> None:
    parallel = of(context="both")
    cluster = parallel.cluster.model_copy(update={"workers": 1, "threads": 1})
    train(parallel.model_copy(update={"cluster": cluster}), feats, tmp_path / "workers", parallel=True)
    assert read_csv(tmp_path / "workers" / "predictions.csv") == read_csv(run / "predictions.csv")
