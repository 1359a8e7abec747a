"""Joint cross-attention of channels: its formula, frames without order or length, rows without common frames."""

import math
from collections.abc import Callable

import torch

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.grids.jca import JcaFusion
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]


def make_head(make_architecture: MakeArchitecture, **options: object) -> JcaFusion:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("jca", **options)).eval()
    assert isinstance(head, JcaFusion)
    return head


def test_a_step_equals_its_formula_on_the_frames(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams, row = make_head(make_architecture, steps=1), make_streams(garbage=9.0), 0
    x = {name: side.values[row, :5] for name, side in streams.items()}
    joint = torch.cat(list(x.values()), -1)
    expected = []
    for name in ("audio", "face"):
        step = head.steps[0][name]  # type: ignore[index]
        correlation = torch.zeros(16, 32)
        for key, frame in zip(step.key(x[name]), joint, strict=True):
            correlation += torch.outer(key, frame) / 5
        read = (step.value(x[name]) @ correlation.tanh()).tanh().clamp(min=0)
        expected.append((x[name] + step.output(read).clamp(min=0)).mean(0))
    torch.testing.assert_close(head(streams).vector[row], torch.cat(expected))


def test_frames_have_neither_order_nor_number(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    head, streams = make_head(make_architecture), make_streams()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    for index in (order, torch.arange(8).repeat(2)):
        changed = {
            name: side._replace(values=side.values[:, index], valid=side.valid[:, index])
            for name, side in streams.items()
        }
        torch.testing.assert_close(head(changed).vector, head(streams).vector)
    face = streams["face"]
    reversed_face = face._replace(values=face.values[:, order], valid=face.valid[:, order])
    assert not torch.allclose(head({**streams, "face": reversed_face}).vector, head(streams).vector)


def test_without_common_frames_the_vector_is_the_means(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture), make_streams()
    audio, face = streams["audio"], streams["face"]
    values = torch.ones(1, 8, 16).requires_grad_()
    first = torch.arange(8) < 3
    audio = Projected(values, first[None], audio.present[:1], values)
    face = Projected(2 * values, ~first[None], face.present[:1], values)
    vector = head({"audio": audio, "face": face}).vector
    assert vector.tolist() == [[1.0] * 16 + [2.0] * 16]
    vector.sum().backward()
    assert values.grad is not None
    assert math.isclose(values.grad.sum().item(), 16 + 2 * 16, rel_tol=1e-5)
