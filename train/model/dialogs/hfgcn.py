"""The head `hfgcn`: a graph over the streams of each turn, a GRU, and a graph over the turns of the dialog.

In the manner of Tang et al. (2021, arXiv 2109.07149), of which the abstract was read, and of DialogueGCN (Ghosal et al.
2019), its ancestor. The formulas are foal's, see docs/network.md.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ....shared.config.fusion_settings import HfgcnSettings
from ....shared.errors import TrainingError
from ..architecture import Architecture
from ..dropout import Dropout
from ..fusion.layers import masked_softmax
from .encoder import Streams, TurnEncoder, Turns, readable, real_turns, side_by_side
from .gru import run_packed


class StreamGraph(nn.Module):
    """One complete graph per turn, a node per stream: z_m = relu(sum_j A_mj v_j + W_m u_m), x = W [z_1; ...; z_M].

    A = softmax(Q K' / sqrt(d)) over the streams that are present; an absent one is read by no other node.
    """

    def __init__(self, *, width: int, streams: int) -> None:
        super().__init__()
        # Queries, keys and values of a stream, and its own path.
        self.nodes = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(streams))
        self.output = nn.Linear(streams * width, width)

    def forward(self, vectors: Float[Tensor, "M u d"], present: Bool[Tensor, "u M"]) -> Float[Tensor, "u d"]:
        """Join the streams of each turn."""
        nodes = torch.stack([node(x) for node, x in zip(self.nodes, vectors, strict=True)], 1)  # (u, M, 4 d)
        queries, keys, values, own = nodes.chunk(4, -1)
        scores = queries @ keys.mT / math.sqrt(keys.shape[-1])
        read = masked_softmax(scores, present[:, None].expand_as(scores)) @ values
        result: Tensor = self.output(F.relu(read + own).flatten(1))
        return result


class DialogGraph(nn.Module):
    """One graph per dialog, an edge from every turn in the window, itself included, by relation.

    h_i = relu(W_0 g_i + sum_j e_ij W_r(i,j) g_j), e_ij = softmax over j of g_i' W_e g_j / sqrt(d);
    h2_i = relu(W_1 h_i + W_2 mean_j h_j).
    """

    def __init__(self, *, width: int, relations: int) -> None:
        super().__init__()
        self.relations = relations
        self.edge = nn.Linear(width, width, bias=False)
        self.own = nn.Linear(width, width)
        self.by_relation = nn.Linear(relations * width, width, bias=False)
        self.own_second = nn.Linear(width, width)
        self.neighbours = nn.Linear(width, width, bias=False)

    def forward(
        self, g: Float[Tensor, "D n d"], allowed: Bool[Tensor, "D n n"], relation: Int[Tensor, "D n n"]
    ) -> Float[Tensor, "D n d"]:
        """Pass two messages along the edges."""
        scores = self.edge(g) @ g.mT / math.sqrt(g.shape[-1])
        weights = masked_softmax(scores, allowed)
        of_relation = F.one_hot(relation, self.relations).movedim(-1, 1)  # (D, R, n, n)
        messages = (weights[:, None] * of_relation) @ g[:, None]  # (D, R, n, d)
        h = F.relu(self.own(g) + self.by_relation(messages.movedim(1, 2).flatten(2)))
        mean = allowed / allowed.sum(-1, keepdim=True).clamp(min=1)
        return F.relu(self.own_second(h) + self.neighbours(mean.to(h.dtype) @ h))


class HfgcnEncoder(TurnEncoder):
    """relu(W [g; h2]): streams of a turn -> x (u, d) -> GRU -> g -> graph over turns -> h2."""

    def __init__(self, a: Architecture, options: HfgcnSettings) -> None:
        super().__init__()
        self.both, self.window = a.context == "both", options.window
        self.streams = StreamGraph(width=a.width, streams=len(a.frame_shapes))
        self.gru: nn.GRU | None = None
        if options.recurrent:
            if self.both and a.width % 2:
                raise TrainingError(f"hfgcn: expected an even width with context both, got {a.width}; change it")
            self.gru = nn.GRU(a.width, a.width // (1 + self.both), bidirectional=self.both)
        # Without later turns there is no edge from one.
        self.turns = DialogGraph(width=a.width, relations=8 if self.both else 4)
        self.dropout = Dropout(a.dropout)
        self.linear = nn.Linear(2 * a.width, a.width)
        self.width = a.width

    def forward(self, streams: Streams, turns: Turns) -> Float[Tensor, "u e"]:
        """See TurnEncoder."""
        device = turns.speakers.device
        present = torch.stack([turns.present[name] for name in streams], -1)
        x = self.dropout(self.streams(torch.stack(list(streams.values())), present))
        g = x if self.gru is None else run_packed(self.gru, x, turns.counts)
        allowed = readable(turns.counts, device, both=self.both, window=self.window)
        relation = relations(side_by_side(turns.speakers, turns.counts), both=self.both)
        h = self.turns(side_by_side(g, turns.counts), allowed, relation)[real_turns(turns.counts, device)]
        return F.relu(self.linear(self.dropout(torch.cat([g, h], -1))))


def relations(speakers: Int[Tensor, "D n"], *, both: bool) -> Int[Tensor, "D n n"]:
    """The relation of a turn to each turn that it reads: 4 (later turn) + 2 (first speaker reads) + (same speaker).

    For two speakers these are all pairs of speakers and both directions, 2 S^2 = 8, as in DialogueGCN; a third speaker
    shares the weights of the second. Without `both` there are no later turns.
    """
    place = torch.arange(speakers.shape[1], device=speakers.device)
    later = (place > place[:, None]) & both
    first = (speakers == 0)[:, :, None]
    same = speakers[:, :, None] == speakers[:, None]
    return 4 * later + 2 * first + same.long()
