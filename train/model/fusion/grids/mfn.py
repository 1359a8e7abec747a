"""Memory fusion network (Zadeh et al., AAAI 2018, arXiv 1802.00927)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from .....shared.config.fusion_settings import MfnSettings
from ...architecture import Architecture
from ...dropout import Dropout
from ..base import Fused, FusionHead, Streams, to_grid
from ..layers import valid_first, valid_frames


class MfnFusion(FusionHead):
    """An LSTM per stream, and a memory that reads the changes of their cells; z joins the last states and the memory.

    Frames that are invalid in a stream do not change its LSTM, and frames that are invalid in all streams do not change
    the memory. The LSTMs are PyTorch's fused ones, see `LstmCells`. The memory is a Python loop over time, since its
    gates read it through two layers, for which there is no fused kernel.
    """

    on_grid = True

    def __init__(self, a: Architecture, options: MfnSettings) -> None:
        super().__init__()
        self.names = tuple(a.frame_shapes)
        self.cells = nn.ModuleDict({name: LstmCells(a.width) for name in self.names})
        window = 2 * len(self.names) * a.width
        self.attention = _perceptron(window, a.width, window, a.dropout)
        self.proposal = _perceptron(window, a.width, options.memory, a.dropout)
        self.memory = GatedMemory(inputs=window, width=options.memory, hidden=a.width)
        self.width = len(self.names) * a.width + options.memory

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        grid = to_grid(streams)
        states = [self.cells[name](valid_frames(grid[name]), grid[name].valid) for name in self.names]
        cells = torch.cat([cell for cell, _ in states], -1)
        window = torch.cat([F.pad(cells[:, :-1], (0, 0, 1, 0)), cells], -1)
        attended = self.attention(window).softmax(-1) * window
        valid = torch.stack([grid[name].valid for name in self.names]).any(0)
        memory = self.memory(attended, self.proposal(attended).tanh(), valid)
        return Fused(torch.cat([*(hidden for _, hidden in states), memory], -1))


class LstmCells(nn.Module):
    """An LSTM that gives its cell after every frame; PyTorch's fused kernel gives the hidden states only.

    With h known, the gates of all frames are two matrix products, and c_t = f_t c_(t-1) + i_t g_t is one operation per
    frame. Gradients are exact: they flow through the recomputed gates and through h.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(
        self, x: Float[Tensor, "b t d"], valid: Bool[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b d"]]:
        """The cell after every frame, (b, t, d), and the last hidden state, (b, d); invalid frames change neither."""
        x, _ = valid_first(x, valid)  # the LSTM reads padding last, and is not asked for what follows
        hidden, _ = self.lstm(x)
        cells = linear_recurrence(*self._gates(x, F.pad(hidden[:, :-1], (0, 0, 1, 0))))
        index = valid.cumsum(1)[..., None].expand(-1, -1, x.shape[2])  # number of frames read; 0: the initial state
        last: Tensor = F.pad(hidden, (0, 0, 1, 0)).gather(1, index[:, -1:])[:, 0]
        return F.pad(cells, (0, 0, 1, 0)).gather(1, index), last

    def _gates(self, x: Tensor, before: Tensor) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b t d"]]:
        """Forget gates f, and i g; from the frames and the hidden states before them."""
        lstm, used = self.lstm, 3 * self.lstm.hidden_size  # in PyTorch's order: i, f, g, o
        from_x, from_hidden, bias_x, bias_hidden = (weight[:used] for weight in lstm.all_weights[0])
        gates = F.linear(x, from_x, bias_x) + F.linear(before, from_hidden, bias_hidden)
        write, keep, candidate = gates.float().chunk(3, -1)
        return keep.sigmoid(), write.sigmoid() * candidate.tanh()


class GatedMemory(nn.Module):
    """mem <- g1 mem + g2 proposal, the gates g1, g2 = sigmoid of a perceptron each, of the inputs and the memory."""

    def __init__(self, *, inputs: int, width: int, hidden: int) -> None:
        super().__init__()
        self.width = width
        self.read_inputs = nn.Linear(inputs, 2 * hidden)
        self.read_memory = nn.Linear(width, 2 * hidden, bias=False)
        self.keep, self.write = nn.Linear(hidden, width), nn.Linear(hidden, width)

    def forward(
        self, inputs: Float[Tensor, "b t e"], proposal: Float[Tensor, "b t m"], valid: Bool[Tensor, "b t"]
    ) -> Float[Tensor, "b m"]:
        """The memory after the last frame; invalid frames do not change it."""
        memory = torch.zeros(len(inputs), self.width, device=inputs.device)
        steps = zip(self.read_inputs(inputs).unbind(1), proposal.unbind(1), valid[..., None].unbind(1), strict=True)
        for read, proposed, changes in steps:
            first, second = (read + self.read_memory(memory)).relu().chunk(2, -1)
            changed = self.keep(first).sigmoid() * memory + self.write(second).sigmoid() * proposed
            memory = torch.where(changes, changed, memory)
        return memory


def linear_recurrence(keep: Float[Tensor, "b t d"], add: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
    """c_t = keep_t c_(t-1) + add_t for all t; c is 0 before the first frame."""
    state, states = torch.zeros_like(add[:, 0]), []
    for kept, added in zip(keep.unbind(1), add.unbind(1), strict=True):
        state = torch.addcmul(added, kept, state)
        states.append(state)
    return torch.stack(states, 1)


def _perceptron(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), Dropout(dropout), nn.Linear(hidden, outputs))
