"""Foal-Net's cross-attention: what each input reads, and the pairs of MEM."""

from collections.abc import Callable

import torch

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.sequences.cross_attention import CrossAttentionFusion
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]
NAMES = ("audio", "face", "text")


def make_head(make_architecture: MakeArchitecture, names: tuple[str, ...] = NAMES) -> CrossAttentionFusion:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("cross-attention", names)).eval()
    assert isinstance(head, CrossAttentionFusion)
    return head


def test_an_input_reads_every_other_one_and_averages_the_results(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams, rows = make_head(make_architecture), make_streams(NAMES, missing=("face",)), torch.arange(6)
    fused, pairs = head.fuse_pairs(streams, dict.fromkeys(head.directions, rows[None]))
    for name in NAMES:
        sequences = []
        for other in NAMES:
            if other == name:
                continue
            x = streams[name].values
            for layer in head.stacks[name][other]:  # type: ignore[index, union-attr]
                x = layer(x, streams[other].values, streams[other].valid, rows)
            sequences.append(x)
            torch.testing.assert_close(pairs[name, other][0], head.pools[name](x, streams[name].valid))
        mean = (sequences[0] + sequences[1]) / 2
        torch.testing.assert_close(fused.parts[name], head.pools[name](mean, streams[name].valid))
    torch.testing.assert_close(fused.vector, torch.cat([fused.parts[name] for name in NAMES], -1))


def test_partners_select_the_row_of_the_other_input(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture, ("audio", "face")), make_streams()
    partners = torch.tensor([[0, 1, 2, 3, 4, 5], [3, 3, 0, 1, 2, 4]])
    result = head.fuse_pairs(streams, {("audio", "face"): partners, ("face", "audio"): partners.flip(0)})
    own = head(streams)
    # The audio of every row, fused with the face of its partner in place of its own.
    swapped = head({**streams, "face": Projected(*(part[partners[1]] for part in streams["face"]))})
    audio, face = result.pairs["audio", "face"], result.pairs["face", "audio"]
    assert audio.shape == (2, 6, 16)
    torch.testing.assert_close(audio[0], own.parts["audio"])
    torch.testing.assert_close(audio[1], swapped.parts["audio"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(face[1], own.parts["face"])
