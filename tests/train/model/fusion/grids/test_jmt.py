"""The joint multimodal transformer: its tokens, its symmetry, the size of the published network."""

from collections.abc import Callable

import torch
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.shared.config.fusion_settings import JmtSettings
from foal.train.model.architecture import Architecture
from foal.train.model.fusion.grids.jmt import JmtFusion
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]


def make_head(make_architecture: MakeArchitecture, names: tuple[str, ...], **options: object) -> JmtFusion:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("jmt", names, **options)).eval()
    assert isinstance(head, JmtFusion)
    return head


def test_six_tokens_of_a_frame_are_mixed_and_averaged(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    streams, row = make_streams(garbage=9.0), 3
    for residual in (False, True):
        head = make_head(make_architecture, ("audio", "face"), residual=residual)
        audio, face = (F.normalize(side.values[row][side.valid[row]], dim=-1) for side in streams.values())
        every = torch.ones(1, len(audio), dtype=torch.bool)
        raw = {"audio": audio, "face": face, "joint": head.join(torch.cat([audio, face], -1))}
        x = {name: head.encoders[name][0](side[None], every) for name, side in raw.items()}  # type: ignore[index]
        order = ("face", "audio"), ("audio", "face"), ("joint", "face"), ("face", "joint"), ("joint", "audio")
        read = [head.readers[q](x[q], x[k], every) + residual * x[q] for q, k in (*order, ("audio", "joint"))]
        tokens, all_six = torch.cat(read).transpose(0, 1), torch.ones(len(audio), 6, dtype=torch.bool)
        tokens = head.token_encoder[0](tokens, all_six)
        expected = head.token_attention(tokens, tokens, all_six).mean((0, 1))
        torch.testing.assert_close(head(streams).vector[row], expected)


def test_swapping_streams_with_their_weights_changes_nothing(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture, ("audio", "face")), make_streams()
    swapped = make_head(make_architecture, ("audio", "face"))
    other = {"audio": "face", "face": "audio"}
    for modules, sources in ((swapped.encoders, head.encoders), (swapped.readers, head.readers)):
        for name in other:
            modules[name].load_state_dict(sources[other[name]].state_dict())
    with torch.no_grad():
        swapped.join.weight.copy_(head.join.weight.roll(16, 1))
        expected = head(streams).vector
        actual = swapped({name: streams[other[name]] for name in streams}).vector
        unswapped = head({name: streams[other[name]] for name in streams}).vector
    torch.testing.assert_close(actual, expected)
    assert not torch.allclose(unswapped, expected)


def test_the_order_of_the_frames_is_not_read(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    head, streams = make_head(make_architecture, ("audio", "face")), make_streams()
    order = torch.arange(8).flip(0)
    reversed_streams = {
        name: side._replace(values=side.values[:, order], valid=side.valid[:, order]) for name, side in streams.items()
    }
    torch.testing.assert_close(head(reversed_streams).vector, head(streams).vector)


def test_it_has_the_live_parameters_of_the_published_network(make_architecture: MakeArchitecture) -> None:
    # Of its 51,961,856 parameters before the regressors, 40,922,624 are of a layer that is never called.
    architecture = make_architecture("jmt")
    with torch.device("meta"):
        head = JmtFusion(Architecture(**{**vars(architecture), "width": 512}), JmtSettings())
    assert sum(parameter.numel() for parameter in head.parameters()) == 51_961_856 - 40_922_624


def test_a_frame_without_a_stream_has_no_tokens_of_it(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture, ("audio", "face")), make_streams()
    seen: list[torch.Tensor] = []
    head.token_attention.register_forward_hook(lambda module, inputs, output: seen.append(inputs[2]))
    valid = streams["face"].valid.clone()
    valid[0, 1] = False
    head({**streams, "face": streams["face"]._replace(valid=valid)})
    # Pairs in order: audio reads face and joint, face reads audio and joint, joint reads audio and face.
    assert seen[0][1].tolist() == [True, True, False, False, True, True]
    assert seen[0].all(1).sum() == len(seen[0]) - 1 == 29
