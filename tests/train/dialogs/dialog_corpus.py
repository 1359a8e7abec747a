"""A dialog task in memory: the class of a turn is told by the features of the turn before it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from foal.shared.utterance import Utterance
from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.sequences import PackedSequences
from foal.train.folds.dialogs import turns_by_dialog

CLASSES = ("a", "b")
WIDTHS = {"audio": 6, "face": 4}


def turn(dialog: int, number: int, label: str, session: int) -> Utterance:
    return Utterance(
        id=f"d{dialog}-{number}",
        corpus="test",
        session=f"session{session}",
        speaker=f"session{session}-{number % 2}",
        label=label,
        audio="a.wav",
        video="v.mp4",
        dialog=f"d{dialog}",
        turn=number,
    )


def dialog_dataset(dialogs: int = 24, *, sessions: int = 3, seed: int = 0, missing_face: bool = True) -> Dataset:
    """Dialogs of 1 to 9 turns, of which the first has no label; the others tell by audio the class of the next one.

    Turns of two dialogs alternate in the rows, so that nothing may rely on their order.
    """
    rng = torch.Generator().manual_seed(seed)
    turns: list[tuple[Utterance, int]] = []
    for dialog in range(dialogs):
        signs = torch.randint(0, 2, (2 + dialog % 8,), generator=rng).tolist()
        for number, sign in enumerate(signs):
            label = CLASSES[signs[number - 1]] if number else ""
            turns.append((turn(dialog, number, label, dialog % sessions + 1), sign))
    turns = [turns[i] for i in torch.randperm(len(turns), generator=rng)]
    turns.sort(key=lambda pair: not pair[0].label)  # context comes last
    told = torch.tensor([sign for _, sign in turns])
    vectors = {name: torch.randn(len(turns), 1, width, generator=rng) for name, width in WIDTHS.items()}
    vectors["audio"][:, 0, 0] += 4.0 * told - 2.0
    valid = {name: torch.ones(len(turns), dtype=torch.bool) for name in WIDTHS}
    if missing_face:
        valid["face"] = torch.rand(len(turns), generator=rng) < 0.8
    return dataset_of([utterance for utterance, _ in turns], {n: v[:, 0] for n, v in vectors.items()}, valid)


def dataset_of(
    turns: Sequence[Utterance],
    vectors: dict[str, Tensor],
    valid: dict[str, Tensor],
    classes: tuple[str, ...] = CLASSES,
) -> Dataset:
    """The dataset of some turns, those with a label first, and their vectors, (turns, width)."""
    labelled = [utterance for utterance in turns if utterance.label]
    assert [*labelled] == list(turns[: len(labelled)])
    offsets = torch.arange(len(turns) + 1)
    return Dataset(
        utterances=tuple(labelled),
        classes=classes,
        labels=torch.tensor([classes.index(utterance.label) for utterance in labelled]),
        features=InMemory({name: PackedSequences.of(vectors[name], valid[name], offsets) for name in vectors}),
        rates=dict.fromkeys(vectors, 10.0),
        stream_names={name: name for name in vectors},
        provenance={name: {"random_weights": True} for name in vectors},
        every=tuple(turns),
        context=tuple(turns[len(labelled) :]),
        dialogs=tuple(map(torch.tensor, turns_by_dialog(turns))),
    )
