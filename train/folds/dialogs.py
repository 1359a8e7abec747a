"""The dialogs of utterances: which turns belong to them, and in which order."""

from collections.abc import Collection, Iterable, Sequence

from ...shared.errors import TrainingError
from ...shared.utterance import Utterance

Dialog = tuple[str, str]
"""Corpus and name of a dialog."""


def context_rows(every: Sequence[Utterance], rows: Collection[int]) -> list[int]:
    """The other turns of the dialogs of some utterances: they have no class, but a head may read them.

    Args:
        every: all utterances.
        rows: rows of the utterances that are trained on or scored.
    """
    chosen = set(rows)
    dialogs = {dialog_of(every[row]) for row in chosen}
    return [
        row
        for row, utterance in enumerate(every)
        if row not in chosen and utterance.dialog and dialog_of(utterance) in dialogs
    ]


def dialog_of(utterance: Utterance) -> Dialog:
    """Corpus and name of the dialog of an utterance; names are unique within a corpus."""
    return utterance.corpus, utterance.dialog


def turns_by_dialog(turns: Sequence[Utterance]) -> list[list[int]]:
    """The rows of each dialog in the order in which its turns begin; dialogs in the order of their first rows.

    Turns are ordered by the column start, where all turns of the dialog have one, else by the column turn, which also
    decides between equal starts.

    Raises:
        TrainingError: an utterance has no dialog, or the order of two turns is unknown.
    """
    dialogs: dict[Dialog, list[int]] = {}
    for row, utterance in enumerate(turns):
        dialogs.setdefault(dialog_of(utterance), []).append(row)
    if without := [utterance.id for utterance in turns if not utterance.dialog]:
        raise TrainingError(
            f"a dialog head needs the column dialog of every utterance, but it is empty for {len(without)} of "
            f"{len(turns)}, such as {without[0]!r}; fill it in the manifest and run `foal index` again, or choose "
            "--fusion cross-attention"
        )
    return [_ordered(turns, rows) for rows in dialogs.values()]


def speaker_numbers(turns: Sequence[Utterance]) -> list[int]:
    """The number of the speaker of each turn of a dialog, in order of appearance; 0 where the speaker is unknown.

    It depends on no later turn.
    """
    numbers: dict[str, int] = {}
    return [numbers.setdefault(turn.speaker, len(numbers)) if turn.speaker else 0 for turn in turns]


def _ordered(turns: Sequence[Utterance], rows: list[int]) -> list[int]:
    by_start = all(turns[row].start is not None for row in rows)
    keys: dict[tuple[float, int], int] = {}
    for row in rows:
        turn = turns[row]
        if not by_start and turn.turn is None:
            raise TrainingError(
                f"dialog {turn.dialog!r}: expected a start of all of its utterances, or a turn of all, but utterance "
                f"{turn.id!r} has no turn, and {_first_without_start(turns, rows)!r} no start; fill the columns start "
                "or turn in the manifest"
            )
        key = (turn.start or 0.0 if by_start else 0.0, -1 if turn.turn is None else turn.turn)
        if key in keys:
            raise TrainingError(
                f"dialog {turn.dialog!r}: the order of the utterances {turns[keys[key]].id!r} and {turn.id!r} is "
                f"unknown, because their {'start and turn are' if by_start else 'turn is'} the same; correct the "
                "columns start and turn in the manifest"
            )
        keys[key] = row
    return [keys[key] for key in sorted(keys)]


def _first_without_start(turns: Sequence[Utterance], rows: Iterable[int]) -> str:
    return next(turns[row].id for row in rows if turns[row].start is None)
