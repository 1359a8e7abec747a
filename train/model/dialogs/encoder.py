"""The interface of a head over dialogs, and the GRU."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from ..dropout import Dropout


class TurnEncoder(nn.Module, ABC):
    """What distinguishes the heads: how the turns of a dialog are read. A new head is a class like GruEncoder.

    Attributes:
        width: width of the result, e.
    """

    width: int

    @abstractmethod
    def forward(self, streams: Mapping[str, Float[Tensor, "u d"]], counts: Sequence[int]) -> Float[Tensor, "u e"]:
        """Encode every turn.

        Args:
            streams: by input, the projected vectors of u turns, one dialog after the other.
            counts: number of turns of each dialog; u is their sum. Nothing may pass from one dialog to another, and,
                with the context `past`, from a turn to an earlier one.
        """


class GruEncoder(TurnEncoder):
    """A GRU over the joined streams: forward in time, or in both directions."""

    def __init__(self, *, inputs: int, width: int, dropout: float, both: bool) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.gru = nn.GRU(inputs * width, width, bidirectional=both)
        self.width = (1 + both) * width

    def forward(self, streams: Mapping[str, Float[Tensor, "u d"]], counts: Sequence[int]) -> Float[Tensor, "u e"]:
        """See TurnEncoder; packed by length, so that there is no padding to read."""
        joined = self.dropout(torch.cat(list(streams.values()), -1))
        packed = pack_sequence(joined.split(list(counts)), enforce_sorted=False)
        return torch.cat(unpack_sequence(self.gru(packed)[0]))
