"""Connection vectors: what they carry between streams, missing streams, classifiers, losses."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.train.model.architecture import Architecture
from foal.train.model.fusion.base import Supervision
from foal.train.model.fusion.layers import supervised_contrastive
from foal.train.model.fusion.registry import build_fusion
from foal.train.model.fusion.sequences.cfn import CfnFusion, present_cross_entropy
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]
MakeArchitecture = Callable[..., Architecture]
NAMES = ("audio", "face", "text")
LABELS, ROWS = torch.tensor([0, 1, 0, 1, 2, 0]), torch.arange(6)


def make_head(
    make_architecture: MakeArchitecture, names: tuple[str, ...] = ("audio", "face"), **options: object
) -> CfnFusion:
    torch.manual_seed(0)
    head = build_fusion(make_architecture("cfn", names, **options)).eval()
    assert isinstance(head, CfnFusion)
    return head


@pytest.mark.parametrize("names", [("audio",), ("audio", "face"), NAMES])
def test_the_vector_equals_the_equations(
    make_architecture: MakeArchitecture, make_streams: MakeStreams, names: tuple[str, ...]
) -> None:
    head = make_head(make_architecture, names, vectors=3)
    streams = make_streams(names, missing=("face",), garbage=3.0)
    fused = head(streams)
    for row in range(6):
        x = {name: side.values[row][side.valid[row]] for name, side in streams.items()}
        j: torch.Tensor = head.vectors
        for layer in head.layers:
            written = []
            for name in names:
                if not streams[name].present[row]:
                    continue
                both = torch.cat([j, x[name]])[None]
                encoded = layer[name](both, torch.ones(1, both.shape[1], dtype=torch.bool))[0]  # type: ignore[index]
                written.append(encoded[:3])
                x[name] = encoded[3:]
            j = torch.stack(written).mean(0)
        expected = torch.cat([*[x[name].mean(0) for name in names], j.mean(0)])
        torch.testing.assert_close(fused.vector[row], expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(fused.parts["connection"][row], j.mean(0), atol=1e-5, rtol=1e-5)


def test_a_missing_stream_does_not_reach_the_connection_vectors(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture), make_streams(missing=("face",))
    face = streams["face"]
    other = {**streams, "face": face._replace(values=face.values + 5 * ~face.present[:, None, None])}
    first, second = head(streams), head(other)
    torch.testing.assert_close(first.parts["connection"], second.parts["connection"])
    torch.testing.assert_close(first.vector[:, :16], second.vector[:, :16])
    torch.testing.assert_close(second.vector[3, 16:32], face.values[3, 0] + 5)
    # A row without any stream is finite.
    assert head(make_streams(missing=("audio", "face"))).vector.isfinite().all()


def test_streams_exchange_information_only_through_the_vectors(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    streams = make_streams()
    other = {**streams, "face": streams["face"]._replace(values=streams["face"].values.flip(0))}
    # In the only layer the audio reads the initial vectors, in a second one those that the face has written.
    for layers, same in ((1, True), (2, False)):
        head = make_head(make_architecture, layers=layers)
        audio, changed = head(streams).vector[:, :16], head(other).vector[:, :16]
        assert torch.allclose(audio, changed, atol=1e-6) == same


def test_a_linear_layer_is_the_mean_of_a_classifier_per_stream(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head, streams = make_head(make_architecture, NAMES), make_streams(NAMES)
    vector = head(streams).vector
    *means, z = vector.split(16, -1)
    joint, classifiers = nn.Linear(head.width, 3), []
    for name in NAMES:
        classify = head.classifiers[name]
        assert isinstance(classify, nn.Linear)
        classifiers.append(classify)
    weights = torch.stack([classify.weight for classify in classifiers]) / 3
    joint.weight.data = torch.cat([*weights[..., :16], weights[..., 16:].sum(0)], -1)
    joint.bias.data = torch.stack([classify.bias for classify in classifiers]).mean(0)
    logits = [classify(torch.cat([mean, z], -1)) for classify, mean in zip(classifiers, means, strict=True)]
    torch.testing.assert_close(joint(vector), torch.stack(logits).mean(0))


def test_each_classifier_learns_from_the_rows_with_its_stream(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    head = make_head(make_architecture, classifiers=0.5, contrastive=0.2, temperature=0.3)
    streams = make_streams(missing=("face",))
    fused = head(streams)
    losses = head.extra_losses(fused, streams, Supervision(LABELS, ROWS))
    audio, face, z = fused.vector.split(16, -1)
    seen = torch.tensor([0, 1, 2, 4, 5])
    of_audio = F.cross_entropy(head.classifiers["audio"](torch.cat([audio, z], -1)), LABELS)
    of_face = F.cross_entropy(head.classifiers["face"](torch.cat([face, z], -1)[seen]), LABELS[seen])
    torch.testing.assert_close(losses["classifiers"], 0.5 * (of_audio + of_face) / 2)
    torch.testing.assert_close(losses["contrastive"], 0.2 * supervised_contrastive(z, LABELS, ROWS, 0.3))
    # Rows without any stream have no vector of their own to contrast.
    none = {name: side._replace(present=side.present & (ROWS != 3)) for name, side in streams.items()}
    alone = head.extra_losses(fused, none, Supervision(LABELS, ROWS))["contrastive"]
    torch.testing.assert_close(alone, 0.2 * supervised_contrastive(z[seen], LABELS[seen], seen, 0.3))
    assert present_cross_entropy(torch.randn(2, 3), LABELS[:2], torch.zeros(2, dtype=torch.bool)) == 0


def test_without_labels_or_weights_there_are_no_losses(
    make_architecture: MakeArchitecture, make_streams: MakeStreams
) -> None:
    streams = make_streams()
    head = make_head(make_architecture, classifiers=0, contrastive=0)
    assert head.extra_losses(head(streams), streams, Supervision(LABELS, ROWS)) == {}
    assert not head.classifiers
    ratings = build_fusion(replace(make_architecture("cfn"), classes=0, ratings=2))
    assert ratings.extra_losses(ratings(streams), streams, Supervision(None, ROWS)) == {}
    assert not any("classifiers" in name for name, _ in ratings.named_parameters())


def test_the_size_at_width_128(make_architecture: MakeArchitecture) -> None:
    head = build_fusion(replace(make_architecture("cfn"), width=128))
    layer = 4 * (128**2 + 128) + 4 * 128**2 + 3 * 128 + 4 * 128
    classifiers = 2 * (256 * 3 + 3)
    assert sum(parameter.numel() for parameter in head.parameters()) == 4 * layer + 8 * 128 + classifiers
