import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foal.shared.config.settings import Settings, load_settings
from foal.shared.errors import TrainingError, UsageError
from foal.shared.utterance import Utterance
from foal.tests.train.ablate.quick_settings import QUICK, SETTINGS
from foal.train.fit.task import FitTask, load_result
from foal.train.run import train
from foal.train.tune.run import tune
from foal.train.tune.search_space import search_space, values_of

TRIALS = 4
FILES = ["best.yaml", "fits", "importance.png", "journal.log", "run.log", "trials.png", "tune.json", "tune.md"]

pytestmark = pytest.mark.usefixtures("requested_tasks")


def settings(**changes: Any) -> Settings:
    return SETTINGS.model_copy(update={"train": QUICK.model_copy(update={"seeds": (0,), **changes})})


def read(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "tune.json").read_text(encoding="utf-8")))


def fits(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "fits").iterdir()}


def test_each_fold_gets_the_trial_with_the_best_development_score(
    feats: Path, tmp_path: Path, requested_tasks: list[FitTask]
) -> None:
    out = tmp_path / "out"
    tuning = tune(settings(refit=True), feats, out, trials=TRIALS)
    assert tuning == read(out)
    assert sorted(path.name for path in out.iterdir()) == FILES
    trials = tuning["trials"]
    assert [row["current"] for row in trials] == [True, False, False, False]
    assert trials[0]["parameters"] == values_of(settings().train, search_space(settings().train, paired=True))
    scores = np.array([row["dev_ua"] for row in trials])
    assert len(np.unique(scores)) > 2
    np.testing.assert_allclose(scores.mean(1), [row["dev_ua_mean"] for row in trials])
    for position, fold in enumerate(tuning["folds"]):
        assert fold["fold"] == position + 1
        assert fold["trial"] == scores[:, position].argmax()
        assert (fold["dev_ua"], fold["current_dev_ua"]) == (scores[:, position].max(), scores[0, position])
    assert tuning["best"]["trial"] == scores.mean(1).argmax()
    # The search is fitted on the training group alone, and the tested fits as the settings require.
    assert {(task.scored, task.settings.refit) for task in requested_tasks} == {("dev", False), ("test", True)}
    assert sum(task.scored == "dev" for task in requested_tasks) == 3 * TRIALS


def test_the_current_settings_are_tested_as_foal_train_does(feats: Path, tmp_path: Path) -> None:
    changes = settings(refit=True, seeds=(0, 1))
    tuning = tune(changes, feats, tmp_path / "out", trials=2)
    metrics = train(changes, feats, tmp_path / "run")
    assert {name: metrics[name] for name in tuning["current"]} == tuning["current"]
    assert tuning["gain"] == pytest.approx(tuning["tuned"]["ua_mean"] - tuning["current"]["ua_mean"])
    assert 0 < tuning["p"] <= 1
    assert tuning["script_floor"] == metrics["script_floor"]


def test_the_test_group_has_no_influence_on_the_choice(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path], make_features: Any
) -> None:
    feats = make_index(tmp_path, sample_utterances)
    before = tune(settings(), feats, tmp_path / "before", trials=TRIALS)
    # Other features and other labels in the third session.
    third = [utterance for utterance in sample_utterances if utterance.session == "session3"]
    make_features(tmp_path / "other", third, seed=9)
    shutil.copytree(tmp_path / "other" / "session3", tmp_path / "features" / "session3", dirs_exist_ok=True)
    swapped = {"hap": "sad", "sad": "hap"}
    poisoned = [replace(u, label=swapped[u.label]) if u in third else u for u in sample_utterances]
    feats = make_index(tmp_path, poisoned, reuse_shards=True)
    after = tune(settings(), feats, tmp_path / "after", trials=TRIALS)
    assert after["features"] != before["features"]
    assert [row["test"] for row in after["folds"]] == ["session1", "session2", "session3"]
    assert after["folds"][2] == before["folds"][2]
    for number in range(TRIALS):
        assert after["trials"][number]["dev_ua"][2] == before["trials"][number]["dev_ua"][2]
    assert after["folds"][:2] != before["folds"][:2]


def test_an_interrupted_search_is_resumed_with_the_same_result(
    feats: Path, tmp_path: Path, requested_tasks: list[FitTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def interrupt(done: int, total: int, name: str) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(settings(), feats, out, trials=TRIALS, progress=interrupt)
    finished = fits(out)
    assert len(finished) == 5
    requested_tasks.clear()
    resumed = tune(settings(), feats, out, trials=TRIALS)
    assert len([task for task in requested_tasks if task.scored == "dev"]) == 3 * TRIALS - 5
    assert {name: time for name, time in fits(out).items() if name in finished} == finished
    assert resumed == tune(settings(), feats, tmp_path / "other", trials=TRIALS)
    requested_tasks.clear()
    assert tune(settings(), feats, out, trials=TRIALS) == resumed
    assert requested_tasks == []


def test_more_trials_keep_the_earlier_ones(feats: Path, tmp_path: Path, requested_tasks: list[FitTask]) -> None:
    out = tmp_path / "out"
    before = tune(settings(), feats, out, trials=2)
    requested_tasks.clear()
    after = tune(settings(), feats, out, trials=TRIALS)
    assert after["trials"][:2] == before["trials"]
    assert len([task for task in requested_tasks if task.scored == "dev"]) == 3 * (TRIALS - 2)
    assert tune(settings(), feats, out, trials=2) == before


def test_a_study_of_other_features_or_settings_is_refused(
    feats: Path, tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]
) -> None:
    out = tmp_path / "out"
    tune(settings(), feats, out, trials=2)
    content = (out / "tune.json").read_bytes()
    (tmp_path / "other").mkdir()
    other = make_index(tmp_path / "other", sample_utterances, seed=1)
    for changes, features, key in (
        ({}, other, "features"),
        ({"epochs": 2}, feats, r"train\.epochs"),
        ({"seeds": (1,)}, feats, "seeds"),
        ({"protocol": "speakers-nested"}, feats, "folds_digest"),
    ):
        with pytest.raises(UsageError, match=f"the study has another configuration: {key} was .* is now .*--force"):
            tune(settings(**changes), features, out, trials=2)
    assert (out / "tune.json").read_bytes() == content
    assert tune(settings(epochs=2), feats, out, trials=2, force=True)["settings"]["epochs"] == 2


def test_the_best_setting_can_be_loaded(feats: Path, tmp_path: Path) -> None:
    tuning = tune(settings(), feats, tmp_path / "out", trials=TRIALS)
    space = search_space(settings().train, paired=True)
    loaded = load_settings(tmp_path / "out" / "best.yaml").train
    assert values_of(loaded, space) == tuning["trials"][tuning["best"]["trial"]]["parameters"]


def test_a_fixed_split_and_one_modality_are_searched(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]
) -> None:
    fixed = [replace(u, fold=("train", "train", "val", "test")[i // 2 % 4]) for i, u in enumerate(sample_utterances)]
    feats = make_index(tmp_path, fixed, widths={"audio": 5})
    tuning = tune(settings(protocol=None, streams=("audio",)), feats, tmp_path / "out", trials=3)
    (fold,) = tuning["folds"]
    assert fold["trial"] == tuning["best"]["trial"]
    assert tuning["protocol"] == "folds-nested"
    assert not {"layers", "avel_weight", "mem_weight"} & tuning["importance"].keys()
    assert "not be nested" not in (tmp_path / "out" / "tune.md").read_text(encoding="utf-8")


def test_studies_without_a_valid_choice_are_refused(feats: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected at least 2 trials"):
        tune(settings(), feats, tmp_path / "out", trials=1)
    with pytest.raises(UsageError, match="expected a protocol with development groups, got loso-reference"):
        tune(settings(protocol="loso-reference"), feats, tmp_path / "out", trials=2)
    with pytest.raises(TrainingError, match="fold"):
        tune(settings(protocol="folds-nested"), feats, tmp_path / "out", trials=2)
    assert not (tmp_path / "out").exists()


def test_all_fits_of_the_search_are_in_the_folder(feats: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int, str]] = []
    tune(settings(), feats, tmp_path / "out", trials=2, progress=lambda *step: steps.append(step))
    assert steps[:7] == [(0, 6, ""), *((done, 6, f"trial {(done - 1) // 3}") for done in range(1, 7))]
    assert {name for _, _, name in steps[7:]} <= {"", "current settings", "tuned settings"}
    for path in (tmp_path / "out" / "fits").iterdir():
        assert load_result(path).probabilities.shape == (6, 2)
