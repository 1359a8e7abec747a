from pathlib import Path

import pytest
from optuna.study import Study
from optuna.trial import TrialState

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import StoreError, UsageError
from foal.train.tune.search_space import propose, search_space, values_of
from foal.train.tune.study import ask, importances, open_study, tell

SETTINGS = TrainSettings(batch_size=32)
SPACE = search_space(SETTINGS, paired=True)
MADE_FROM = {"features": "0123", "settings": {"epochs": 3}}


def opened(folder: Path, *, force: bool = False) -> Study:
    return open_study(folder / "journal.log", MADE_FROM, force=force)


def test_the_first_trial_has_the_current_settings_and_the_others_are_proposals(tmp_path: Path) -> None:
    study = opened(tmp_path)
    assert ask(study, SPACE, SETTINGS, 4) == [values_of(SETTINGS, SPACE), *propose(SPACE, 3)]
    assert study.user_attrs == MADE_FROM
    assert [trial.user_attrs for trial in study.trials] == [{"current settings": True}, {}, {}, {}]


def test_results_do_not_influence_later_proposals(tmp_path: Path) -> None:
    for name, scores in (("a", [0.1, 0.9, 0.5]), ("b", [0.9, 0.1, 0.2])):
        (tmp_path / name).mkdir()
        study = opened(tmp_path / name)
        ask(study, SPACE, SETTINGS, 3)
        tell(study, scores)
    trials = [ask(opened(tmp_path / name), SPACE, SETTINGS, 8) for name in "ab"]
    assert trials[0] == trials[1]
    assert trials[0][1:] == propose(SPACE, 7)


def test_an_interrupted_study_continues_with_its_stored_trials(tmp_path: Path) -> None:
    values = ask(opened(tmp_path), SPACE, SETTINGS, 3)
    journal = tmp_path / "journal.log"
    complete = journal.read_bytes()
    journal.write_bytes(complete + b'{"op_code":4,"wor')  # an interrupted write
    study = opened(tmp_path)
    assert ask(study, SPACE, SETTINGS, 4)[:3] == values
    tell(study, [0.5, 0.7, 0.6])
    study = opened(tmp_path)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE] * 3 + [TrialState.RUNNING]
    tell(study, [0.1, 0.1, 0.1, 0.8])  # stored scores stay
    assert [trial.value for trial in opened(tmp_path).trials] == [0.5, 0.7, 0.6, 0.8]
    assert journal.read_bytes().startswith(complete)
    assert [path.name for path in tmp_path.iterdir()] == ["journal.log"]


def test_current_settings_outside_the_search_space_are_a_trial_without_these_values(tmp_path: Path) -> None:
    values = ask(opened(tmp_path), SPACE, TrainSettings(preset="paper"), 2)
    assert values[0].keys() == SPACE.keys() - {"width", "batch_size"}
    assert values[1].keys() == SPACE.keys()


def test_a_study_of_something_else_is_refused_unless_forced(tmp_path: Path) -> None:
    ask(opened(tmp_path), SPACE, SETTINGS, 2)
    other = {**MADE_FROM, "settings": {"epochs": 5}}
    message = r"the study has another configuration: train\.epochs was 3, is now 5; .*--force, or .*--out"
    with pytest.raises(UsageError, match=message):
        open_study(tmp_path / "journal.log", other)
    study = open_study(tmp_path / "journal.log", other, force=True)
    assert (study.user_attrs, study.trials) == (other, [])


@pytest.mark.parametrize("content", [b"not JSON\n", b'{"op_code": 0}\n', b"[1]\n"])
def test_a_corrupt_journal_is_refused_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.log").write_bytes(content)
    with pytest.raises(StoreError, match=r"journal\.log: corrupt journal of a study .*; delete the file"):
        opened(tmp_path)


def test_the_parameter_that_determines_the_scores_is_the_most_important() -> None:
    trials = propose(SPACE, 40)
    shares = importances(SPACE, trials, [float(values["skip"]) + 0.1 * values["dropout"] for values in trials])
    assert next(iter(shares)) == "skip"
    assert shares["skip"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_equal_scores_give_no_importance() -> None:
    trials = [{"width": 64}, *propose(SPACE, 3)]
    assert importances(SPACE, trials, [0.9, 0.5, 0.5, 0.5]) == dict.fromkeys(SPACE, 0.0)
