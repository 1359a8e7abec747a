"""The interface of a head over dialogs, and what the heads share: turns side by side, and which of them are read."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..fusion.base import Supervision

Streams = Mapping[str, Float[Tensor, "u d"]]
"""By input, the projected vectors of u turns, one dialog after the other; a missing one is the learned placeholder."""


class Turns(NamedTuple):
    """What is known of u turns besides their vectors.

    Attributes:
        counts: number of turns of each dialog; u is their sum.
        speakers: number of the speaker within the dialog, by order of appearance, (u,); 0 where it is unknown.
        present: by input, the turns that have it, (u,).
    """

    counts: Sequence[int]
    speakers: Int[Tensor, " u"]
    present: Mapping[str, Bool[Tensor, " u"]]


class TurnEncoder(nn.Module, ABC):
    """What distinguishes the heads: how the turns of a dialog are read.

    A new head is a class like GruEncoder, which is called with the architecture and the options of the head; it is
    added to registry.py and to fusion_settings.py.

    Attributes:
        width: width of the result, e.
    """

    width: int

    @abstractmethod
    def forward(self, streams: Streams, turns: Turns) -> Float[Tensor, "u e"]:
        """Encode every turn.

        Nothing may pass from one dialog to another, and, unless the context is `both`, from a turn to an earlier one.
        With the context `none` every turn is a dialog of its own.
        """

    def extra_losses(
        self, encoded: Float[Tensor, "u e"], streams: Streams, turns: Turns, supervision: Supervision
    ) -> dict[str, Float[Tensor, ""]]:
        """Weighted losses of the head by name; only called in training.

        The labels of the supervision are NO_CLASS where a turn is not trained on.
        """
        return {}


def side_by_side(x: Tensor, counts: Sequence[int]) -> Tensor:
    """Arrange the turns (u, ...) by dialog, (D, n, ...), n turns of the longest one; the rest is zero (False)."""
    return pad_sequence(list(torch.split(x, list(counts))), batch_first=True)


def real_turns(counts: Sequence[int], device: torch.device) -> Bool[Tensor, "D n"]:
    """Which places of `side_by_side` are turns; x[real_turns] is the inverse of it."""
    return torch.arange(max(counts), device=device) < torch.tensor(counts, device=device)[:, None]


def readable(
    counts: Sequence[int], device: torch.device, *, both: bool, window: int | None = None
) -> Bool[Tensor, "D n n"]:
    """Which turns of its dialog (last axis) a turn reads: itself, those before it, and with `both` those after it.

    Args:
        counts: number of turns of each dialog.
        device: device of the result.
        both: whether later turns are read.
        window: maximum distance of a turn that is read (None: unlimited).

    Returns:
        The mask; a place without a turn is read by none, and itself reads at least one turn unless there is a window.
    """
    place = torch.arange(max(counts), device=device)
    before = place[:, None] - place  # reader minus read
    allowed = torch.ones_like(before, dtype=torch.bool) if both else before >= 0
    if window is not None:
        allowed = allowed & (before.abs() <= window)
    return allowed & real_turns(counts, device)[:, None]
