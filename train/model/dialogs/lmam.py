"""The head `lmam-dialog`: low-rank matching attention over the turns of a dialog.

After the abstract of Shou et al. (TAFFC 2025, arXiv 2306.17799); the authors' code does something else, see
docs/network.md.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ....shared.config.fusion_settings import LmamDialogSettings
from ..architecture import Architecture
from ..fusion.layers import MatchingAttention
from .encoder import Streams, TurnEncoder, Turns, readable, real_turns, side_by_side


class LmamEncoder(TurnEncoder):
    """The matched streams of each turn, joined: (u, M d) for M streams.

    Every stream of a turn is matched with every stream of the turns that it reads. A turn that lacks a stream is no
    value of that stream, except for the turn itself, which reads its placeholder: no turn is without a key.
    """

    def __init__(self, a: Architecture, options: LmamDialogSettings) -> None:
        super().__init__()
        count = len(a.frame_shapes)
        self.both = a.context == "both"
        self.matching = MatchingAttention(width=a.width, rank=options.rank, streams=count)
        self.width = count * a.width

    def forward(self, streams: Streams, turns: Turns) -> Float[Tensor, "u e"]:
        """See TurnEncoder."""
        device = turns.speakers.device
        allowed = readable(turns.counts, device, both=self.both)  # (D, n, n)
        own = torch.eye(allowed.shape[-1], dtype=torch.bool, device=device)
        masks = [
            # A place without a turn reads itself only: its result is not used.
            (allowed & side_by_side(turns.present[name], turns.counts)[:, None]) | own
            for name in streams
        ]
        matched = self.matching([side_by_side(x, turns.counts) for x in streams.values()], masks)
        return torch.cat(matched, -1)[real_turns(turns.counts, device)]
