"""The head `dialog-gru`: a GRU over the turns of a dialog."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from ....shared.config.fusion_settings import DialogGruSettings
from ..architecture import Architecture
from ..dropout import Dropout
from .encoder import Streams, TurnEncoder, Turns


def run_packed(gru: nn.GRU, x: Float[Tensor, "u w"], counts: Sequence[int]) -> Float[Tensor, "u g"]:
    """Apply a GRU to each dialog, packed by length, so that no direction reads padding."""
    packed = pack_sequence(list(torch.split(x, list(counts))), enforce_sorted=False)
    return torch.cat(unpack_sequence(gru(packed)[0]))


class GruEncoder(TurnEncoder):
    """A GRU over the joined streams: forward in time, or in both directions."""

    def __init__(self, a: Architecture, options: DialogGruSettings) -> None:
        super().__init__()
        both = a.context == "both"
        self.dropout = Dropout(a.dropout)
        self.gru = nn.GRU(len(a.frame_shapes) * a.width, a.width, bidirectional=both)
        self.width = (1 + both) * a.width

    def forward(self, streams: Streams, turns: Turns) -> Float[Tensor, "u e"]:
        """See TurnEncoder."""
        joined = self.dropout(torch.cat(list(streams.values()), -1))
        return run_packed(self.gru, joined, turns.counts)
