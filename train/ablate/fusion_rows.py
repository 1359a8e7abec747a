"""The rows of a comparison of fusion systems: which systems the features allow, their variants, the order of fits."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...shared.config.fusion_settings import DIALOG_HEADS, FUSIONS
from ...shared.config.train_settings import TrainSettings
from ...shared.errors import TrainingError, UsageError
from ..data.dataset import Dataset
from ..data.protocol import CrossValidation
from ..fit.checks import unmet_need
from ..folds.dialogs import context_rows, turns_by_dialog
from ..folds.plan import require_whole_dialogs
from .systems import BASELINES, System, baseline_systems

ALL = "all"
REFERENCE = "concat"
"""The system that the others are compared with, without AVEL and MEM."""
REGRESSION = "regression"
"""With this the ids of logistic regression begin."""
FIRST = (REFERENCE, "cross-attention")
"""The systems that are fitted first."""
VARIANTS: Mapping[str, tuple[bool, bool]] = {
    "": (False, False),
    " + AVEL + MEM": (True, True),
    " + AVEL": (True, False),
    " + MEM": (False, True),
}
"""AVEL and MEM by the suffix of a row's name, in the order of the fits."""


@dataclass(frozen=True, kw_only=True)
class FusionRows:
    """The rows of a comparison.

    Attributes:
        systems: baselines, then the rows of each fusion system, in the order of the fits.
        fusions: the fusion system of each row that has one, by the id of the row.
        left_out: the systems that the features do not allow, with the reason.
    """

    systems: tuple[System, ...]
    fusions: Mapping[str, str]
    left_out: Mapping[str, str]


def parse_fusions(text: str) -> tuple[str, ...] | None:
    """The names of `--fusions A,B,...`, each once; None for `all`. Raises UsageError for an unknown name."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if names == (ALL,):
        return None
    if not names:
        raise UsageError(f"--fusions: expected {ALL} or names such as concat,cross-attention, got {text!r}")
    for name in names:
        if name not in FUSIONS:
            near = difflib.get_close_matches(name, [ALL, *FUSIONS], n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? Expected" if near and name != ALL else "expected"
            raise UsageError(
                f"--fusions: there is no fusion {name!r}; {hint} {ALL} alone, or some of {', '.join(FUSIONS)}"
            )
    return names


def fusion_rows(
    data: Dataset, folds: CrossValidation, settings: TrainSettings, names: Sequence[str] | None
) -> FusionRows:
    """The rows of these systems and of concat, and of the baselines.

    Args:
        data: the dataset, opened for a head over utterances.
        folds: folds of the study.
        settings: settings of the study; options and context of its fusion system apply to that system, if it is the
            only one that is named.
        names: the systems (None: all that the features allow).

    Raises:
        UsageError: the features do not allow a system that is named, or the options belong to another one.
    """
    _check_options(settings, names)
    wanted = dict.fromkeys([REFERENCE, *(FUSIONS if names is None else names)])
    left_out = {}
    for name in wanted:
        if problem := _problem(data, folds, settings.model_copy(update=_head(settings, name, names))):
            if names is not None:
                raise UsageError(f"--fusions: {problem}")
            left_out[name] = problem
    allowed = [name for name in wanted if name not in left_out]
    allowed.sort(key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name in DIALOG_HEADS))
    rows, fusions = [], {}
    for suffix, (avel, mem) in VARIANTS.items():
        for name in allowed:
            if suffix and (name in DIALOG_HEADS or len(data.stream_names) < 2):
                continue
            id_ = name + suffix.replace(" ", "")
            fusions[id_] = name
            changes = {**_head(settings, name, names), "avel": avel, "mem": mem}
            rows.append(System(id=id_, name=name + suffix, description=_description(name), changes=changes))
    baselines = baseline_systems(list(data.stream_names), [row[0] for row in BASELINES])
    # The reference and the baselines come first: without them there is no comparison.
    return FusionRows(systems=(rows[0], *baselines, *rows[1:]), fusions=fusions, left_out=left_out)


def _description(name: str) -> str:
    return (FUSIONS[name].__doc__ or name).partition("\n")[0].rstrip(".")


def _check_options(settings: TrainSettings, names: Sequence[str] | None) -> None:
    """Raise UsageError if options are set and one other system is named."""
    if settings.fusion_options and names is not None and len(names) == 1 and names[0] != settings.fusion:
        raise UsageError(
            f"train.fusion_options: expected options of {names[0]}, which --fusions names, got those of "
            f"{settings.fusion}; set train.fusion: {names[0]}, or remove the options"
        )


def _head(settings: TrainSettings, name: str, names: Sequence[str] | None) -> dict[str, Any]:
    """The settings of a head. Options are those of the study for the only system that is named, else the defaults."""
    own = names is not None and tuple(names) == (settings.fusion,) and name == settings.fusion
    return {
        "fusion": name,
        "fusion_options": settings.fusion_options if own else {},
        "context": settings.context if name in DIALOG_HEADS else "past",
    }


def _problem(data: Dataset, folds: CrossValidation, settings: TrainSettings) -> str | None:
    """What the features lack for a head, in one sentence that begins with its name; None if nothing."""
    if (problem := unmet_need(data, settings)) or not settings.over_dialogs:
        return problem
    ids = set(data.ids)
    context = context_rows(data.every, [row for row, turn in enumerate(data.every) if turn.id in ids])
    try:
        turns_by_dialog([*data.utterances, *(data.every[row] for row in context)])
        require_whole_dialogs(data.utterances, folds.groups, folds.protocol)
    except TrainingError as error:
        return f"{settings.fusion}: {error}"
    return None
