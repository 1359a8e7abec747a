"""Loading the networks of a run, and predictions for utterances without labels."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foal.predict.trained import load_trained, open_unlabelled
from foal.shared.errors import FoalError, StoreError, TrainingError
from foal.shared.utterance import Utterance
from foal.tests.predict.small_run import MakeFeatures, index_of, other_corpus, run_of, settings
from foal.train.data.dataset import open_dataset
from foal.train.evaluate.ensemble import assign_models, load_fold_models
from foal.train.evaluate.ratings import prediction_tables
from foal.train.evaluate.run import probability_tables

CPU = torch.device("cpu")
Corpus = list[Utterance]
OneClip = Callable[[int], Utterance]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def feats(workspace: Path, sample_utterances: Corpus, make_features: MakeFeatures) -> Path:
    """18 utterances of two classes in three sessions."""
    path = workspace / "feats.h5"
    return path if path.exists() else index_of(workspace, sample_utterances, make_features)


@pytest.fixture
def run(feats: Path) -> Path:
    """A run of three folds and two seeds; created once, read only."""
    folder = feats.parent / "run"
    return folder if folder.exists() else run_of(folder, feats)


@pytest.fixture
def unlabelled(workspace: Path, sample_utterances: Corpus, make_features: MakeFeatures) -> Path:
    """The features of six utterances of another corpus, without labels, sessions and speakers."""
    folder = workspace / "unlabelled"
    if not folder.exists():
        index_of(folder, other_corpus(sample_utterances[:6], speaker=""), make_features, seed=1)
    return folder / "feats.h5"


def evaluated(run: Path, labelled: Path, **changes: Any) -> np.ndarray:
    """The probabilities with which `foal evaluate` scores the same features with labels, (n, c): means over seeds."""
    models = load_fold_models(run)
    train_settings = settings(**changes).train
    with open_dataset(labelled, train_settings, classes=models[0].metadata["classes"]) as data:
        ensembles = assign_models(models, data, torch.arange(len(data)))
        return probability_tables(lambda model: data, ensembles, CPU).mean(0)


def test_a_run_is_loaded_with_what_it_reads_and_predicts(run: Path) -> None:
    model = load_trained(run)
    assert (model.name, model.classes, model.ratings, model.is_final) == ("run", ("hap", "sad"), (), False)
    assert model.streams == {"audio": "audio", "face": "face"}
    assert {name: values["encoder"] for name, values in model.provenance.items()} == {
        "audio": "random:test",
        "face": "random:test",
    }
    assert {(member.seed, member.fold) for member in model.networks} == {(s, f) for s in (0, 1) for f in (1, 2, 3)}
    assert model.scores is not None
    assert model.scores["n"] == 18
    assert {member.fold for member in load_trained(run, fold=2).networks} == {2}
    (single,) = load_trained(run / "models" / "seed1-fold3").networks
    assert (single.seed, single.fold) == (1, 3)
    assert load_trained(run / "models" / "seed1-fold3").name == "run/seed1-fold3"


def test_utterances_without_labels_get_the_probabilities_of_an_evaluation(
    run: Path, unlabelled: Path, tmp_path: Path, sample_utterances: Corpus, make_features: MakeFeatures
) -> None:
    model = load_trained(run)
    with open_unlabelled(model, unlabelled) as data:
        predicted = model.predict(data)
        part = model.predict(data, rows=[4, 1])
    assert predicted.ids == tuple(f"new-u{number}" for number in range(6))
    assert predicted.probabilities.shape == (6, 2)
    assert predicted.probabilities.dtype == np.float32
    assert predicted.probabilities.sum(1) == pytest.approx(1.0, abs=1e-6)
    assert predicted.ratings is None
    labelled = other_corpus(sample_utterances[:6], speaker="")
    labelled = [replace(new, label=old.label) for new, old in zip(labelled, sample_utterances, strict=False)]
    expected = evaluated(run, index_of(tmp_path, labelled, make_features, seed=1))
    np.testing.assert_allclose(predicted.probabilities, expected, atol=1e-6)
    assert part.ids == ("new-u4", "new-u1")
    np.testing.assert_allclose(part.probabilities, predicted.probabilities[[4, 1]], atol=1e-6)


def test_the_networks_of_a_fold_give_the_predictions_of_the_run(run: Path, feats: Path) -> None:
    table = (run / "predictions.csv").read_text(encoding="utf-8").splitlines()
    header = table[0].split(",")
    rows = [dict(zip(header, line.split(","), strict=True)) for line in table[1:]]
    model = load_trained(run, fold=1)
    test = model.networks[0].test
    with open_unlabelled(model, feats) as data:
        predicted = model.predict(data)
    for utterance_id, probabilities in zip(predicted.ids, predicted.probabilities, strict=True):
        stored = [float(row["p_sad"]) for row in rows if row["id"] == utterance_id and row["fold"] == test]
        if stored:
            assert probabilities[1] == pytest.approx(np.mean(stored), abs=1e-6)
    assert sum(row["fold"] == test for row in rows) == 12  # 6 utterances, 2 seeds


def test_a_missing_modality_is_replaced_by_the_learned_embedding(run: Path, unlabelled: Path) -> None:
    model = load_trained(run)
    with open_unlabelled(model, unlabelled) as data:
        complete = model.predict(data)
        stream = data.features.streams["face"]  # type: ignore[attr-defined]
        stream.valid[:] = False
        without = model.predict(data)
    assert np.isfinite(without.probabilities).all()
    assert not np.allclose(without.probabilities, complete.probabilities, atol=1e-3)


def test_speaker_statistics_are_those_of_the_features_or_of_the_fold(
    workspace: Path, feats: Path, unlabelled: Path, sample_utterances: Corpus, make_features: MakeFeatures
) -> None:
    folder = workspace / "by-speaker"
    run_of(folder, feats, normalize="speaker", seeds=(0,))
    model = load_trained(folder)
    with_speakers = index_of(workspace / "speakers", other_corpus(sample_utterances), make_features, seed=1)
    with open_unlabelled(model, with_speakers) as data:
        of_fold = model.predict(data)
        of_speakers = model.predict(data, speaker_statistics="features")
    assert not np.allclose(of_fold.probabilities, of_speakers.probabilities, atol=1e-3)
    labelled = [
        replace(new, label=old.label)
        for new, old in zip(other_corpus(sample_utterances), sample_utterances, strict=True)
    ]
    again = index_of(workspace / "labelled-speakers", labelled, make_features, seed=1)
    expected = evaluated(folder, again, normalize="speaker")
    np.testing.assert_allclose(of_speakers.probabilities, expected, atol=1e-6)
    with open_unlabelled(model, unlabelled) as data:  # without speakers both are the same
        of_fold = model.predict(data)
        of_speakers = model.predict(data, speaker_statistics="features")
    np.testing.assert_array_equal(of_fold.probabilities, of_speakers.probabilities)


def test_a_model_of_ratings_needs_neither_labels_nor_ratings(
    workspace: Path, unlabelled: Path, sample_utterances: Corpus, make_features: MakeFeatures
) -> None:
    rated = [replace(u, valence=float(i % 5), label="") for i, u in enumerate(sample_utterances)]
    features = index_of(workspace / "rated", rated, make_features)
    model = load_trained(run_of(workspace / "ratings", features, target=("valence",), seeds=(0,)))
    assert (model.classes, model.ratings) == ((), ("valence",))
    with open_unlabelled(model, features) as data:
        predicted = model.predict(data)
    assert predicted.probabilities.shape == (18, 0)
    assert predicted.ratings is not None
    assert predicted.ratings.shape == (18, 1)
    models = load_fold_models(workspace / "ratings")
    with open_dataset(features, model.settings, classes=[]) as data:
        others = replace(data, utterances=tuple(replace(u, corpus="other") for u in data.utterances))
        ensembles = assign_models(models, others, torch.arange(18))
        (expected,) = prediction_tables(lambda model: data, ensembles, CPU, lambda predictions: predictions.ratings)
    np.testing.assert_allclose(predicted.ratings, expected, atol=1e-6)


def test_a_head_over_dialogs_reads_the_turns_in_their_order(
    workspace: Path, unlabelled: Path, sample_utterances: Corpus, make_features: MakeFeatures
) -> None:
    dialogs = [
        replace(u, dialog=f"d{u.session}-{i // 9}", turn=i, start=None, end=None)
        for i, u in enumerate(sample_utterances)
    ]
    features = index_of(workspace / "dialogs", dialogs, make_features)
    folder = run_of(workspace / "over-dialogs", features, fusion="dialog-gru", seeds=(0,), context="past")
    model = load_trained(folder)
    turns = other_corpus(dialogs)
    new = index_of(workspace / "new-dialogs", turns, make_features, seed=1)
    labelled = [replace(turn, label=old.label) for turn, old in zip(turns, dialogs, strict=True)]
    with open_unlabelled(model, new) as data:
        predicted = model.predict(data)
    again = index_of(workspace / "labelled-dialogs", labelled, make_features, seed=1)
    expected = evaluated(folder, again, fusion="dialog-gru", context="past")
    np.testing.assert_allclose(predicted.probabilities, expected, atol=1e-6)
    with (
        pytest.raises(TrainingError, match="needs the column dialog of every utterance"),
        open_unlabelled(model, unlabelled),
    ):
        pass


def test_features_of_another_encoder_are_refused(run: Path, tmp_path: Path, unlabelled: Path) -> None:
    changed = tmp_path / "run"
    shutil.copytree(run, changed)
    for path in (changed / "models").glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        config["provenance"]["face"]["weights"] = "f" * 64
        path.write_text(json.dumps(config), encoding="utf-8")
    with (
        pytest.raises(TrainingError, match="expected face features of random:test"),
        open_unlabelled(load_trained(changed), unlabelled),
    ):
        pass


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("nowhere", {}, "no such folder; expected the folder of a finished `foal train`"),
        ("features", {}, "expected the folder of a finished `foal train` with models/, found no models"),
        ("run", {"fold": 7}, "expected one of the folds 1, 2, 3, got 7"),
        ("run", {"final": True}, "the run has no final model; train it with `foal train --final --resume`"),
    ],
)
def test_what_cannot_be_loaded_is_named(run: Path, source: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        load_trained(run.parent / source, **options)


def test_a_run_with_features_per_fold_is_refused(run: Path, tmp_path: Path) -> None:
    changed = tmp_path / "run"
    shutil.copytree(run, changed)
    for path in (changed / "models").glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        config["fold_streams"] = {"1": {"audio": "audio/ft-a"}}
        path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(FoalError, match="features per fold"):
        load_trained(changed)
