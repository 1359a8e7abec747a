"""The gate that the text opens: its equations, and what a missing modality does."""

from collections.abc import Callable

import pytest
import torch

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.vectors.textgate import TextGateFusion
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
NAMES = ("audio", "face", "text")


@pytest.fixture
def make_gate(make_architecture: Callable[..., Architecture]) -> Callable[..., TextGateFusion]:
    def make(names: tuple[str, ...] = NAMES) -> TextGateFusion:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            head = build_fusion(make_architecture("textgate", names)).eval()
        assert isinstance(head, TextGateFusion)
        return head

    return make


def close_gates(head: TextGateFusion) -> None:
    """Set scales, shifts and scores to zero."""
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()


def means(streams: dict[str, Projected], row: int) -> dict[str, torch.Tensor]:
    return {name: side.values[row][side.valid[row]].mean(0) for name, side in streams.items()}


def test_gates_of_zero_leave_the_mean_of_the_present_streams(
    make_gate: Callable[..., TextGateFusion], make_streams: MakeStreams
) -> None:
    head, streams = make_gate(), make_streams(NAMES, missing=("face",))
    close_gates(head)
    vector = head(streams).vector
    for row in range(6):
        vectors = [mean for name, mean in means(streams, row).items() if row != 3 or name != "face"]
        torch.testing.assert_close(vector[row], torch.stack(vectors).mean(0))


def test_the_text_scales_shifts_and_weights(
    make_gate: Callable[..., TextGateFusion], make_streams: MakeStreams
) -> None:
    head, streams = make_gate(), make_streams(NAMES)
    vector = head(streams).vector
    for row in range(6):
        u = means(streams, row)
        weights = head.weights(u["text"]).softmax(-1)
        expected = weights[2] * u["text"]
        for weight, name in zip(weights, ("audio", "face"), strict=False):
            scale, shift = head.gates[name](u["text"]).chunk(2, -1)
            expected = expected + weight * (u[name] * (1 + scale.tanh()) + shift)
        torch.testing.assert_close(vector[row], expected)


def test_without_text_the_gate_is_static(make_gate: Callable[..., TextGateFusion], make_streams: MakeStreams) -> None:
    head, streams = make_gate(), make_streams(NAMES)
    text = streams["text"]
    placeholder = text.values[:1, :1].expand_as(text.values)
    streams["text"] = text._replace(values=placeholder, present=torch.zeros(6, dtype=torch.bool))
    audio, face = streams["audio"], streams["face"]

    def with_audio(values: torch.Tensor) -> torch.Tensor:
        vector: torch.Tensor = head(streams | {"audio": audio._replace(values=values)}).vector
        return vector

    # The same affine map for every utterance: adding a constant to the audio moves all vectors alike.
    moved = with_audio(audio.values + 1) - with_audio(audio.values)
    torch.testing.assert_close(moved, moved[:1].expand_as(moved), atol=1e-5, rtol=1e-5)
    # The placeholder itself has no weight: without scores, audio and face have a half each.
    close_gates(head)
    for row, vector in enumerate(head(streams).vector):
        u = means({"audio": audio, "face": face}, row)
        torch.testing.assert_close(vector, (u["audio"] + u["face"]) / 2)


def test_a_row_without_any_stream_is_zero(make_gate: Callable[..., TextGateFusion], make_streams: MakeStreams) -> None:
    head, streams = make_gate(), make_streams(NAMES, missing=NAMES)
    vector = head(streams).vector
    assert (vector[3] == 0).all()
    assert vector.isfinite().all()


def test_the_first_stream_of_text_gates_the_others(make_gate: Callable[..., TextGateFusion]) -> None:
    head = make_gate(("face/clip", "text/bert", "text/e5"))
    assert head.text == "text/bert"
    assert len(head.gates) == 2
    assert len(make_gate(("audio", "text")).gates) == 1
