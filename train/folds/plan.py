"""What a protocol of this package returns: the group of every utterance, and the rows of every fold."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...shared.errors import TrainingError
from ...shared.utterance import Utterance


@dataclass(frozen=True, kw_only=True)
class FoldPlan:
    """The rows of one fold.

    Attributes:
        test: name of the test group.
        dev: name of the development group.
        test_rows: rows that are tested.
        dev_rows: rows that choose the epoch or settings.
        train_rows: rows that a fit is trained on while the development rows choose.
        refit_only_rows: rows that only the training after the choice may use, because they share the session or a scene
            with the development rows. They share neither with the test rows.
    """

    test: str
    dev: str
    test_rows: Sequence[int]
    dev_rows: Sequence[int]
    train_rows: Sequence[int]
    refit_only_rows: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A protocol applied to n utterances.

    Attributes:
        kind: kind of the groups.
        groups: group of each utterance, n; the name of a fold's test group, if one tests it.
        folds: the folds, in the order of their numbers.
        scene_groups: scenes by the group of scenes that is held out together; empty if scenes play no part.
        notes: how the parts were made, for the results.
    """

    kind: str
    groups: tuple[str, ...]
    folds: tuple[FoldPlan, ...]
    scene_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def natural_key(text: str) -> list[str | int]:
    """Sort key that puts session2 before session10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", text)]


def required_column(
    utterances: Sequence[Utterance], name: str, value: Callable[[Utterance], str], *, protocol: str
) -> tuple[str, ...]:
    """A column of all utterances, n. Raises TrainingError that names the first utterance whose cell is empty."""
    values = tuple(value(utterance) for utterance in utterances)
    if "" in values:
        row = values.index("")
        raise TrainingError(
            f"the protocol {protocol} needs the column {name} of every utterance, but it is empty for "
            f"{values.count('')} of {len(values)}, such as {utterances[row].id!r}; fill it in the manifest, or choose "
            f"another protocol, such as --protocol {'folds-nested' if name == 'session' else 'loso-nested'}"
        )
    return values


def require_whole_dialogs(utterances: Sequence[Utterance], groups: Sequence[str], protocol: str) -> None:
    """Raise TrainingError if a dialog has utterances in more than one group: its parts could train and be tested.

    Args:
        utterances: the utterances, n; those without a dialog are ignored.
        groups: group of each utterance, n.
        protocol: name of the protocol, for the message.
    """
    group_of: dict[tuple[str, str], str] = {}
    for utterance, group in zip(utterances, groups, strict=True):
        first = group_of.setdefault((utterance.corpus, utterance.dialog), group) if utterance.dialog else group
        if first != group:
            raise TrainingError(
                f"dialog {utterance.dialog!r} is in the folds {first!r} and {group!r} of the protocol {protocol}, but "
                "a dialog must lie in one fold; correct the columns dialog, session and scene, or choose another "
                "protocol"
            )
