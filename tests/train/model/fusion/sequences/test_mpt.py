"""Multimodal prompts: their formula and mask, the strong stream, the losses of two dropout passes."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.base import Fused, Supervision
from foal.train.model.fusion.layers import supervised_contrastive
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.sequences.mpt import MptFusion, PromptFilter
from foal.train.model.pooling import Projected, masked_mean

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]
THREE = ("audio", "face", "text")
LABELS, ROWS = torch.tensor([0, 1, 0, 1, 2, 0]), torch.arange(6)


def make_head(
    make_architecture: MakeArchitecture,
    names: tuple[str, ...] = ("audio", "face"),
    dropout: float = 0.0,
    **options: object,
) -> MptFusion:
    torch.manual_seed(0)
    head = build_fusion(replace(make_architecture("mpt", names, **options), dropout=dropout)).eval()
    assert isinstance(head, MptFusion)
    return head


def plain(head: MptFusion, strong: Projected) -> Tensor:
    """The mean of the strong stream after the transformer without prompts."""
    x = strong.values
    for layer in head.layers:
        x = layer(x, strong.valid)
    return masked_mean(x, strong.valid)


def test_without_weak_streams_a_row_equals_the_plain_encoder(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture, THREE), make_streams(THREE, missing=("audio", "face"))
    encoded, prompts = head(streams).vector.split(16, -1)
    expected = plain(head, streams["text"])
    torch.testing.assert_close(encoded[3], expected[3])
    assert (prompts[3] == 0).all()
    # The prompts do something in the other rows.
    assert not torch.isclose(encoded[:3], expected[:3], atol=1e-3).all(1).any()


def test_a_row_without_one_weak_stream_equals_the_head_without_it(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture, THREE), make_streams(THREE, missing=("face",))
    fewer = make_head(make_architecture, ("audio", "text"))
    fewer.load_state_dict({name: v for name, v in head.state_dict().items() if not name.startswith("filters.face")})
    expected = fewer({name: streams[name] for name in ("audio", "text")}).vector
    vector = head(streams).vector
    torch.testing.assert_close(vector[3], expected[3])
    assert not torch.allclose(vector[2], expected[2], atol=1e-3)


def test_prompts_of_zero_are_not_masked_prompts(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    head, audio = make_head(make_architecture), make_streams()["audio"]
    prompts = torch.zeros(6, 4, 16)
    masked, read = (head.encode(audio, prompts, torch.full((6, 4), usable)) for usable in (False, True))
    torch.testing.assert_close(masked_mean(masked, audio.valid), plain(head, audio))
    assert not torch.allclose(masked_mean(read, audio.valid), plain(head, audio), atol=1e-3)


def test_a_prompt_is_what_a_query_reads_scaled_by_its_gate(make_streams: MakeStreams) -> None:
    torch.manual_seed(0)
    encode = PromptFilter(width=16, heads=1, prompts=3)
    streams = make_streams(garbage=9.0)
    strong = masked_mean(streams["audio"].values, streams["audio"].valid)
    prompts = encode(streams["face"], strong)
    weak, attention = streams["face"].values[4][:3], encode.attention
    weights = (attention.query(encode.queries) @ attention.key(weak).T / 4).softmax(-1)
    expected = attention.output(weights @ attention.value(weak))
    gate = encode.gate(torch.cat([expected, strong[4].expand(3, -1)], -1)).sigmoid()
    torch.testing.assert_close(prompts[4], gate * expected)


def test_the_order_of_weak_streams_and_of_frames_is_not_read(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, other = (make_head(make_architecture, names) for names in (THREE, ("face", "text", "audio")))
    other.load_state_dict(head.state_dict())
    streams = make_streams(THREE)
    flipped = {
        name: streams[name]._replace(values=streams[name].values.flip(1), valid=streams[name].valid.flip(1))
        for name in ("face", "text", "audio")
    }
    torch.testing.assert_close(other(flipped).vector, head(streams).vector, atol=1e-5, rtol=1e-5)


def test_the_strong_stream_is_an_option(make_architecture: MakeArchitecture, make_streams: MakeStreams) -> None:
    assert [make_head(make_architecture, names).strong for names in (THREE, ("face", "audio"))] == ["text", "audio"]
    head = make_head(make_architecture, strong="face")
    assert list(head.filters) == ["audio"]
    assert head(make_streams()).vector.shape == (6, 32)


def test_the_losses_are_those_of_a_second_pass_with_other_dropout(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head = make_head(make_architecture, dropout=0.3, unsupervised=0.5, supervised=2.0).train()
    streams = make_streams()
    first = head(streams)
    torch.manual_seed(1)
    losses = head.extra_losses(first, streams, Supervision(LABELS, ROWS))
    torch.manual_seed(1)
    second = head(streams).vector
    assert not torch.allclose(first.vector, second)
    u, v = (x / x.norm(dim=1, keepdim=True) for x in (first.vector, second))
    expected = -(u @ v.T / 0.1).log_softmax(1).diagonal().mean()
    torch.testing.assert_close(losses["unsupervised"], 0.5 * expected)
    both = torch.cat([first.vector, second])
    expected = supervised_contrastive(both, LABELS.repeat(2), ROWS.repeat(2), 0.1)
    torch.testing.assert_close(losses["supervised"], 2 * expected)


def test_rows_without_the_strong_stream_do_not_count(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture), make_streams(missing=("audio",))
    fused = head(streams)
    losses = head.extra_losses(fused, streams, Supervision(LABELS, ROWS))
    keep = torch.tensor([0, 1, 2, 4, 5])
    some = {name: Projected(*(part[keep] for part in side)) for name, side in streams.items()}
    expected = head.extra_losses(Fused(fused.vector[keep]), some, Supervision(LABELS[keep], ROWS[keep]))
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], atol=1e-5, rtol=1e-5)
        assert loss > 0


def test_losses_without_weight_or_labels_are_left_out(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    streams, labelled, unlabelled = make_streams(), Supervision(LABELS, ROWS), Supervision(None, ROWS)
    found = []
    for unsupervised, supervised in ((1, 1), (0, 1), (1, 0), (0, 0)):
        head = make_head(make_architecture, unsupervised=unsupervised, supervised=supervised)
        fused = head(streams)
        found.append([list(head.extra_losses(fused, streams, which)) for which in (labelled, unlabelled)])
    assert found == [
        [["unsupervised", "supervised"], ["unsupervised"]],
        [["supervised"], []],
        [["unsupervised"], ["unsupervised"]],
        [[], []],
    ]


def test_the_size_at_width_128(make_architecture: MakeArchitecture) -> None:
    head = build_fusion(replace(make_architecture("mpt"), width=128))
    assert sum(parameter.numel() for parameter in head.parameters()) == 24 * 128**2 + 33 * 128
