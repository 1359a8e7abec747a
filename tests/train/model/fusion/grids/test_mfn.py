"""The memory fusion network: cells of every frame, its formula step by step, states that padding freezes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.grids.mfn import LstmCells, MfnFusion, linear_recurrence
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]


@pytest.fixture
def head(make_architecture: MakeArchitecture) -> MfnFusion:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("mfn", memory=12)).eval()
    assert isinstance(head, MfnFusion)
    return head


def single_steps(lstm: nn.LSTM) -> nn.LSTMCell:
    cell = nn.LSTMCell(lstm.input_size, lstm.hidden_size)
    cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in lstm.state_dict().items()})
    return cell


def test_cells_and_their_gradients_equal_those_of_single_steps(make_streams: MakeStreams) -> None:
    torch.manual_seed(0)
    cells = LstmCells(16)
    step = single_steps(cells.lstm)
    audio = make_streams(garbage=9.0)["audio"]
    valid = audio.valid.clone()
    valid[1, 2:4] = False  # a gap
    states, last = cells(audio.values, valid)
    expected = torch.zeros(6, 8, 16)
    hidden, cell = torch.zeros(6, 16), torch.zeros(6, 16)
    for t in range(8):
        after = step(audio.values[:, t], (hidden, cell))
        hidden, cell = (torch.where(valid[:, t, None], *pair) for pair in zip(after, (hidden, cell), strict=True))
        expected[:, t] = cell
    torch.testing.assert_close(states, expected)
    torch.testing.assert_close(last, hidden)
    weights = torch.randn(16, generator=torch.Generator().manual_seed(1))
    ((states**2 @ weights).sum() + (last @ weights).sum()).backward()
    ((expected**2 @ weights).sum() + (hidden @ weights).sum()).backward()
    for name, parameter in step.named_parameters():
        actual = cells.lstm.get_parameter(f"{name}_l0").grad
        torch.testing.assert_close(actual, parameter.grad, atol=1e-4, rtol=1e-4)


def step_by_step(head: MfnFusion, frames: list[dict[str, Tensor]]) -> Tensor:
    """The vector of one utterance; a stream that lacks a frame does not take the step."""
    steps = {name: single_steps(head.cells[name].lstm) for name in head.names}  # type: ignore[arg-type]
    states = {name: (torch.zeros(16), torch.zeros(16)) for name in head.names}
    memory = torch.zeros(12)
    gates = head.memory
    for frame in frames:
        before = [cell for _, cell in states.values()]
        states |= {name: steps[name](x, states[name]) for name, x in frame.items()}
        window = torch.cat([*before, *(cell for _, cell in states.values())])
        attended = head.attention(window).softmax(-1) * window
        hidden = (gates.read_inputs(attended) + gates.read_memory(memory)).relu()
        keep, write = gates.keep(hidden[:16]).sigmoid(), gates.write(hidden[16:]).sigmoid()
        memory = keep * memory + write * head.proposal(attended).tanh()
    return torch.cat([*(last for last, _ in states.values()), memory])


def test_the_vector_equals_the_formula_step_by_step(head: MfnFusion, make_streams: MakeStreams) -> None:
    streams = make_streams(padding=2, garbage=9.0)
    valid = streams["face"].valid.clone()
    valid[1, 3:5] = False
    valid[5, 6:] = False
    streams["face"] = streams["face"]._replace(valid=valid)
    vector = head(streams).vector
    for row in (0, 1, 5):
        frames = [
            {name: side.values[row, t] for name, side in streams.items() if side.valid[row, t]}
            for t in range(10)
            if streams["audio"].valid[row, t]
        ]
        torch.testing.assert_close(vector[row], step_by_step(head, frames))


def test_padding_anywhere_freezes_all_states(head: MfnFusion, make_streams: MakeStreams) -> None:
    streams = make_streams()
    index = torch.tensor([0, 1, 1, 1, 2, 3, 4, 5, 6, 7])
    repeats = torch.tensor([False, False, True, True, *[False] * 6])
    apart = {
        name: side._replace(values=side.values[:, index], valid=side.valid[:, index] & ~repeats)
        for name, side in streams.items()
    }
    torch.testing.assert_close(head(apart).vector, head(streams).vector)
    read = {name: side._replace(valid=streams[name].valid[:, index]) for name, side in apart.items()}
    assert not torch.allclose(head(read).vector[0], head(streams).vector[0])


def test_the_recurrence_of_constant_gates_is_a_geometric_series() -> None:
    keep = torch.full((1, 4, 1), 0.5)
    states = linear_recurrence(keep, torch.ones(1, 4, 1))
    assert states[0, :, 0].tolist() == [1.0, 1.5, 1.75, 1.875]
