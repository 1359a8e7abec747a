"""How often a speaker's label is that of the same speaker's previous turn: a diagnostic that reads labels."""

from typing import TypedDict

from ..data.dataset import Dataset
from .positions import in_order


class LabelInertia(TypedDict):
    """Share of equal labels in pairs of a turn and the same speaker's previous turn, and the number of pairs."""

    agreement: float
    pairs: int


def label_inertia(data: Dataset) -> LabelInertia | None:
    """Compare the label of each turn with that of the speaker's previous turn of the dialog.

    No system may read the label of another turn; a head that sees a dialog profits by this inertia if it recognizes the
    turn before. Only pairs of consecutive turns of a speaker count whose labels are both classes of the dataset.

    Args:
        data: the dataset; turns without a label (`every`) stand between others.

    Returns:
        None without such pairs.
    """
    previous: dict[tuple[str, str, str], str] = {}
    equal = pairs = 0
    for turn in in_order(data.every or data.utterances):
        if not (turn.dialog and turn.speaker):
            continue
        key = (turn.corpus, turn.dialog, turn.speaker)
        before = previous.get(key, "")
        previous[key] = turn.label
        if before in data.classes and turn.label in data.classes:
            pairs += 1
            equal += before == turn.label
    return LabelInertia(agreement=equal / pairs, pairs=pairs) if pairs else None
