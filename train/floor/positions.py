"""Where utterances are in the scripts and scenarios that dialogs share: scene, role, and time within the dialog."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...shared.utterance import Utterance

UNKNOWN = -1
"""Number of a scene or role that is unknown."""
KINDS = {"script": "scripted", "impro": "improvised"}
"""Kinds of scenes by the beginning of their names."""


@dataclass(frozen=True, kw_only=True)
class Positions:
    """Positions of n utterances. Numbers are UNKNOWN, and times NaN, where the manifest does not give them.

    Attributes:
        scenes: number of the column scene, (n,): in IEMOCAP script01 or impro05.
        parts: number of the part of the scene that the dialog's name gives, (n,): script01_1; else as the scene.
        roles: number of the role, (n,): gender, else the order in which the dialog's speakers begin.
        times: start as a fraction of the dialog's length, (n,).
    """

    scenes: NDArray[np.int64]
    parts: NDArray[np.int64]
    roles: NDArray[np.int64]
    times: NDArray[np.float64]

    @property
    def has_scenes(self) -> bool:
        """Whether any utterance has a scene."""
        return bool((self.scenes != UNKNOWN).any())

    @property
    def has_roles(self) -> bool:
        """Whether the utterances that have a scene have a role."""
        return self.has_scenes and bool((self.roles[self.scenes != UNKNOWN] != UNKNOWN).all())

    @property
    def has_times(self) -> bool:
        """Whether any utterance has a role in a scene and a time."""
        return self.has_roles and bool(np.isfinite(self.times[self.scenes != UNKNOWN]).any())


def positions_of(utterances: Sequence[Utterance], every: Sequence[Utterance] = ()) -> Positions:
    """Find the positions of utterances.

    Args:
        utterances: the utterances, n.
        every: all turns of the dialogs, those without a label included, from which their lengths are taken (empty: the
            utterances).
    """
    turns = every or utterances
    lengths = _lengths(turns)
    by_gender = all(utterance.gender for utterance in utterances if utterance.scene)
    ranks = {} if by_gender else _speaker_ranks(turns)
    return Positions(
        scenes=_numbers([utterance.scene for utterance in utterances]),
        parts=_numbers([scene_part(utterance) for utterance in utterances]),
        roles=_numbers(
            [
                utterance.gender if by_gender else ranks.get((*_dialog(utterance), utterance.speaker), "")
                for utterance in utterances
            ]
        ),
        times=np.array([_time(utterance, lengths.get(_dialog(utterance))) for utterance in utterances], np.float64),
    )


def scene_part(utterance: Utterance) -> str:
    """The part of a scene that the dialog's name ends with, without the letter of a repetition; else the scene.

    In IEMOCAP the dialog Ses05F_script01_1b plays the part script01_1 of the scene script01.
    """
    if not utterance.scene:
        return ""
    match = re.search(rf"({re.escape(utterance.scene)}(?:_\d+)?)[a-z]?$", utterance.dialog)
    return match[1] if match else utterance.scene


def _lengths(turns: Sequence[Utterance]) -> dict[tuple[str, str], float]:
    """Length of each dialog in seconds: the end of its last turn (the last start, where ends are unknown)."""
    lengths: dict[tuple[str, str], float] = {}
    for turn in turns:
        last = turn.start if turn.end is None else turn.end
        if turn.dialog and last is not None:
            lengths[_dialog(turn)] = max(lengths.get(_dialog(turn), 0.0), last)
    return lengths


def _speaker_ranks(turns: Sequence[Utterance]) -> dict[tuple[str, str, str], str]:
    """The rank of each speaker of a dialog, by the first turn; by (corpus, dialog, speaker)."""
    ranks: dict[tuple[str, str, str], str] = {}
    speakers: dict[tuple[str, str], int] = {}
    for turn in in_order(turns):
        key = (*_dialog(turn), turn.speaker)
        if turn.dialog and turn.speaker and key not in ranks:
            speakers[_dialog(turn)] = speakers.get(_dialog(turn), 0) + 1
            ranks[key] = str(speakers[_dialog(turn)])
    return ranks


def in_order(turns: Sequence[Utterance]) -> list[Utterance]:
    """Turns in the order of their starts, else of the column turn, else of the manifest."""
    infinity = float("inf")

    def place(turn: Utterance) -> tuple[float, float]:
        return (
            infinity if turn.start is None else turn.start,
            infinity if turn.turn is None else turn.turn,
        )

    return sorted(turns, key=place)


def _dialog(utterance: Utterance) -> tuple[str, str]:
    return utterance.corpus, utterance.dialog


def _time(utterance: Utterance, length: float | None) -> float:
    return float("nan") if utterance.start is None or not length else utterance.start / length


def _numbers(names: Sequence[str]) -> NDArray[np.int64]:
    """Number of each name, (n,), in the order of the sorted names; UNKNOWN for an empty one."""
    order = {name: number for number, name in enumerate(sorted(set(names) - {""}))}
    return np.array([order.get(name, UNKNOWN) for name in names], np.int64)
