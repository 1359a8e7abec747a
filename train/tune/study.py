"""The study of `foal tune`: its trials in an Optuna journal, with which an interrupted search resumes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from ...shared.config.train_settings import TrainSettings
from ...shared.errors import StoreError
from ..report.run_folder import require_equal
from .search_space import SEED, Values, is_within, propose, values_of

JOURNAL = "journal.log"
STUDY = "foal tune"


class _NoLock(JournalFileOpenLock):
    """The folder of the study is locked already; a lock file of Optuna would survive a killed process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def open_study(path: Path, metadata: Mapping[str, Any], *, force: bool = False) -> Study:
    """Open the study of a journal, or create it.

    Args:
        path: the journal.
        metadata: what the study is made from, JSON values; stored as user attributes.
        force: discard a study that exists.

    Raises:
        UsageError: the study was made from something else.
        StoreError: the journal is corrupt.
    """
    if force:
        path.unlink(missing_ok=True)
    _drop_partial_line(path)
    try:
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=_NoLock(str(path))))
        study = optuna.create_study(study_name=STUDY, storage=storage, direction="maximize", load_if_exists=True)
        begun = bool(study.get_trials(deepcopy=False))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: corrupt journal of a study ({error}); delete the file to start the study over: finished fits are "
            "reused"
        ) from None
    if begun:
        require_equal(study.user_attrs, metadata, f"{path.parent}: the study")
    else:
        for key, value in metadata.items():
            study.set_user_attr(key, value)
    return study


def ask(study: Study, space: Mapping[str, BaseDistribution], settings: TrainSettings, count: int) -> list[Values]:
    """Return the first `count` trials of a study, and add those that are missing.

    Args:
        study: the study.
        space: the search space.
        settings: the current settings, which are the first trial. Values outside the search space are not stored.
        count: number of trials.

    Returns:
        Values of the searched keys by trial. They are stored before the first fit, in one step each, so that the
        interruption of a search changes none of them.
    """
    stored = len(study.get_trials(deepcopy=False))
    for number, values in enumerate([values_of(settings, space), *propose(space, count - 1)]):
        if number >= stored:
            inside = {key: value for key, value in values.items() if is_within(value, space[key])}
            study.add_trial(
                create_trial(
                    state=TrialState.RUNNING,
                    params=inside,
                    distributions={key: space[key] for key in inside},
                    user_attrs={"current settings": True} if number == 0 else {},
                )
            )
    return [trial.params for trial in study.get_trials(deepcopy=False)[:count]]


def tell(study: Study, scores: Sequence[float]) -> None:
    """Store the score of each of the first trials, unless it is stored already."""
    for trial, score in zip(study.get_trials(deepcopy=False), scores, strict=False):
        if not trial.state.is_finished():
            study.tell(trial.number, score)


def importances(
    space: Mapping[str, BaseDistribution], trials: Sequence[Values], scores: Sequence[float]
) -> dict[str, float]:
    """Share of each key in the variance of the scores (fANOVA), largest first; zeros if the scores are equal.

    Args:
        space: the search space.
        trials: values by trial; a trial with values outside the search space is left out.
        scores: score by trial.
    """
    pairs = [pair for pair in zip(trials, scores, strict=True) if pair[0].keys() == space.keys()]
    if len({score for _, score in pairs}) < 2:
        return dict.fromkeys(space, 0.0)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [create_trial(params=dict(values), distributions=dict(space), value=score) for values, score in pairs]
    )
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=SEED))
    return {key: float(share) for key, share in shares.items()}


def _drop_partial_line(path: Path) -> None:
    """Remove the end of a line that an interrupted write has left; Optuna would append to it."""
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            path.write_bytes(content[: content.rfind(b"\n") + 1])
