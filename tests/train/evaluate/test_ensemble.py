"""Assignment of networks to utterances: no network scores a group that it was trained on."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from foal.shared.config.settings import Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import StoreError, TrainingError
from foal.shared.hdf5.seal import write_seal
from foal.shared.utterance import Utterance
from foal.train.data.dataset import Dataset, open_dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.evaluate.ensemble import FoldModel, assign_models, check_encoders, load_fold_models
from foal.train.model.foalnet import FoalNet
from foal.train.run import train

QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=1, batch_size=8, bootstrap=50)
SESSIONS = ("session1", "session2", "session3")
Make = Callable[..., Dataset]


def models_for(
    model: FoalNet,
    tests: Sequence[str],
    *,
    kind: str = "session",
    names: Sequence[str] = SESSIONS,
    seeds: Sequence[int] = (0,),
) -> list[FoldModel]:
    metadata = {"groups": {"kind": kind, "names": list(names), "corpora": ["test"]}}
    return [
        FoldModel(model=model, metadata=metadata, seed=seed, fold=number, test=test)
        for seed in seeds
        for number, test in enumerate(tests, start=1)
    ]


def scoring_groups(models: list[FoldModel], data: Dataset, rows: Tensor | None = None) -> list[list[str]]:
    """The test groups of the networks that score each row."""
    (ensemble,) = assign_models(models, data, torch.arange(len(data)) if rows is None else rows).values()
    return [
        [fold_model.test for fold_model, member_rows in ensemble.members if row in member_rows.tolist()]
        for row in range(len(data))
    ]


def with_values(data: Dataset, positions: Sequence[int], **values: Any) -> Dataset:
    utterances = [replace(u, **values) if i in positions else u for i, u in enumerate(data.utterances)]
    return replace(data, utterances=tuple(utterances))


def test_a_session_is_scored_by_the_network_that_tested_it(
    make_dataset: Make, make_model: Callable[..., FoalNet]
) -> None:
    data = make_dataset()
    models = models_for(make_model(data), SESSIONS)
    assert scoring_groups(models, data) == [[u.session] for u in data.utterances]
    (ensemble,) = assign_models(models, data, torch.arange(24)).values()
    assert ensemble.rows.tolist() == list(range(24))
    assert len(ensemble.excluded) == 0
    selected = torch.tensor([7, 2, 20])
    (ensemble,) = assign_models(models, data, selected).values()
    assert ensemble.rows.tolist() == [2, 7, 20]
    assert scoring_groups(models, data, selected)[0] == []


def test_groups_without_their_test_network_are_excluded(make_dataset: Make, make_model: Callable[..., FoalNet]) -> None:
    data = make_dataset()
    (ensemble,) = assign_models(models_for(make_model(data), ["session2"]), data, torch.arange(24)).values()
    assert ensemble.rows.tolist() == [i for i, u in enumerate(data.utterances) if u.session == "session2"]
    assert sorted([*ensemble.rows.tolist(), *ensemble.excluded.tolist()]) == list(range(24))


def test_utterances_of_new_groups_are_scored_by_all_networks(
    make_dataset: Make, make_model: Callable[..., FoalNet]
) -> None:
    data = make_dataset()
    models = models_for(make_model(data), SESSIONS)
    new = with_values(data, [0, 5], session="session9")
    assert [scoring_groups(models, new)[i] for i in (0, 1, 5)] == [
        list(SESSIONS),
        [data.utterances[1].session],
        list(SESSIONS),
    ]
    # Another corpus may have sessions of the same names.
    other = with_values(data, [0, 5], corpus="other")
    assert scoring_groups(models, other) == scoring_groups(models, new)


def test_utterances_of_the_corpus_without_a_group_are_not_scored(
    make_dataset: Make, make_model: Callable[..., FoalNet]
) -> None:
    data = with_values(make_dataset(), range(24), fold="f1")
    models = models_for(make_model(data), ["f1", "f2", "f3"], kind="fold", names=["f1", "f2", "f3"])
    assert scoring_groups(models, data) == [["f1"]] * 24
    # The same utterances in a manifest without the column fold.
    assert scoring_groups(models, with_values(data, range(24), fold="")) == [[]] * 24


def test_train_and_development_folds_are_not_scored(make_dataset: Make, make_model: Callable[..., FoalNet]) -> None:
    data = make_dataset()
    for offset, fold in enumerate(("Train", "valid", "test")):
        data = with_values(data, range(offset, 24, 3), fold=fold)
    folds = build_cross_validation(data.utterances, "folds-nested", data.speakers)
    models = models_for(make_model(data), ["test"], kind="fold", names=sorted(set(folds.groups)))
    assert scoring_groups(models, data) == [[], [], ["test"]] * 8


def test_speakers_are_scored_by_the_network_that_tested_them(
    make_dataset: Make, make_model: Callable[..., FoalNet]
) -> None:
    data = make_dataset()
    names = sorted(set(data.speakers))
    models = models_for(make_model(data), names, kind="speaker", names=names)
    assert scoring_groups(models, data) == [[speaker] for speaker in data.speakers]
    assert scoring_groups(models, with_values(data, [3], speaker="new speaker"))[3] == names
    assert scoring_groups(models, with_values(data, [3], corpus="other"))[3] == names


def test_each_seed_has_an_ensemble_of_its_own_networks(make_dataset: Make, make_model: Callable[..., FoalNet]) -> None:
    data = make_dataset()
    ensembles = assign_models(models_for(make_model(data), SESSIONS, seeds=(7, 3)), data, torch.arange(24))
    assert list(ensembles) == [3, 7]
    for seed, ensemble in ensembles.items():
        assert {fold_model.seed for fold_model, _ in ensemble.members} == {seed}
        assert ensemble.rows.tolist() == list(range(24))


def test_probabilities_of_several_networks_are_averaged(make_dataset: Make, make_model: Callable[..., FoalNet]) -> None:
    data = with_values(make_dataset(6, c=2), [1], corpus="other")
    models = models_for(make_model(data), SESSIONS[:2])
    (ensemble,) = assign_models(models, data, torch.arange(6)).values()
    tables = [torch.rand(len(rows), 2, generator=torch.Generator().manual_seed(7)) for _, rows in ensemble.members]
    average = ensemble.average(tables)
    for row, utterance in enumerate(data.utterances):
        probabilities = [
            table[rows.tolist().index(row)].numpy()
            for table, (_, rows) in zip(tables, ensemble.members, strict=True)
            if row in rows.tolist()
        ]
        assert len(probabilities) == {"session1": 1, "session2": 1, "session3": 0}[utterance.session] + (row == 1)
        if probabilities:
            np.testing.assert_allclose(average[row], np.mean(probabilities, axis=0), rtol=1e-6)
        else:
            assert np.isnan(average[row]).all()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ensemble")


@pytest.fixture
def run(workspace: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """A run with feats.h5 next to it; created once, read only."""
    if not (workspace / "run").exists():
        settings = Settings(train=QUICK.model_copy(update={"seeds": (10, 9)}))
        train(settings, make_index(workspace, sample_utterances), workspace / "run")
    return workspace / "run"


def test_all_networks_or_a_single_network_can_be_loaded(run: Path) -> None:
    models = load_fold_models(run)
    assert [(fold_model.seed, fold_model.fold, fold_model.test) for fold_model in models] == [
        (seed, fold, f"session{fold}") for seed in (9, 10) for fold in (1, 2, 3)
    ]
    assert not any(fold_model.model.training for fold_model in models)
    (single,) = load_fold_models(run / "models" / "seed9-fold2")
    assert (single.seed, single.fold, single.test) == (9, 2, "session2")
    for name, value in models[1].model.state_dict().items():
        assert torch.equal(single.model.state_dict()[name], value)


def test_folders_without_a_finished_run_are_refused(run: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere", run / "models"):
        with pytest.raises(
            StoreError, match="expected the folder of a finished `foal train` with models/, found no models"
        ):
            load_fold_models(folder)
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "models")
    with pytest.raises(StoreError, match="with models/, found no models"):
        load_fold_models(tmp_path / "run")


def test_a_run_without_a_weight_file_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "models" / "seed9-fold2" / "model.safetensors").unlink()
    with pytest.raises(StoreError, match=r"model\.safetensors: no such file"):
        load_fold_models(tmp_path / "run")


@pytest.mark.parametrize("missing", ["score", "groups", "settings"])
def test_a_network_without_a_description_of_its_training_data_is_refused(
    run: Path, tmp_path: Path, missing: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(run / "models" / "seed9-fold2", folder)
    config = json.loads((folder / "config.json").read_text())
    del config[missing]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(StoreError, match=r"model: config.json does not describe the training data; train again"):
        load_fold_models(folder)


@pytest.mark.parametrize(
    ("key", "value", "expected", "actual"),
    [
        ("encoder", "facebook/other", "random:test (weights 0)", "facebook/other (weights 0)"),
        ("weights", "f" * 64, "random:test (weights 0)", "random:test (weights ffffffff)"),
    ],
    ids=["encoder", "weights"],
)
@pytest.mark.parametrize("modality", ["audio", "face"])
def test_features_of_another_encoder_are_refused(
    run: Path, tmp_path: Path, modality: str, key: str, value: str, expected: str, actual: str
) -> None:
    feats = shutil.copytree(run.parent, tmp_path / "copy") / "feats.h5"
    fold_model = load_fold_models(run)[0]
    with open_dataset(feats, QUICK, classes=None) as data:
        check_encoders(fold_model, data, run, feats)
    with h5py.File(feats, "r+") as file:
        file[f"streams/{modality}"].attrs[key] = np.bytes_(value)
    write_seal(feats)
    with open_dataset(feats, QUICK, classes=None) as data, pytest.raises(TrainingError) as caught:
        check_encoders(fold_model, data, run, feats)
    assert str(caught.value) == (
        f"{run}: expected {modality} features of {expected}, which the network was trained on, got {actual} in "
        f"{feats}; extract with the same encoder, or train again"
    )


@pytest.mark.parametrize("widths", [{"audio": 8, "face": 7}, {"audio": 9, "face": 6}])
def test_frames_of_another_width_are_refused(
    run: Path,
    tmp_path: Path,
    sample_utterances: list[Utterance],
    make_index: Callable[..., Path],
    widths: dict[str, int],
) -> None:
    feats = make_index(tmp_path, sample_utterances, widths=widths)
    with open_dataset(feats, QUICK, classes=None) as data, pytest.raises(TrainingError) as caught:
        check_encoders(load_fold_models(run)[0], data, run, feats)
    name = "face" if widths["audio"] == 8 else "audio"
    expected_shapes: dict[str, Any] = {"audio": (8,), "face": (6,)}
    assert str(caught.value) == (
        f"{run}: expected {name} frames of shape {expected_shapes[name]}, got {(widths[name],)} in {feats}; "
        "extract the same layers, or train again"
    )


def test_features_of_an_untrained_modality_are_refused(
    run: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path], tmp_path: Path
) -> None:
    train(Settings(train=QUICK.model_copy(update={"streams": ("audio",)})), run.parent / "feats.h5", tmp_path / "audio")
    (fold_model, *_) = load_fold_models(tmp_path / "audio")
    with open_dataset(run.parent / "feats.h5", QUICK, classes=None) as data:
        check_encoders(fold_model, data.select(["audio"]), tmp_path / "audio", run.parent / "feats.h5")
        with pytest.raises(TrainingError, match="the network was not trained on face features; train again"):
            check_encoders(fold_model, data, tmp_path / "audio", run.parent / "feats.h5")
