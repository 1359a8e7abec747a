"""The individual layers of Foal-Net."""

from collections.abc import Callable

import torch
from torch import Tensor

from foal.train.data.dataset import Dataset
from foal.train.data.sequences import Batch, Frames, SpeakerNorm
from foal.train.model.dropout import SequenceDropout
from foal.train.model.foalnet import FoalNet
from foal.train.model.layers import (
    CrossAttention,
    FeedForward,
    Projection,
    sinusoidal_positions,
)

Make = Callable[..., Dataset]
MakeModel = Callable[..., FoalNet]
BatchOf = Callable[[Dataset, Tensor], Batch]


def test_cross_attention_equals_torch_multi_head_attention() -> None:
    torch.manual_seed(0)
    ours = CrossAttention(width=16, heads=4, dropout=0.0)
    reference = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        reference.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
        reference.out_proj.weight.copy_(ours.output.weight)
        reference.out_proj.bias.copy_(ours.output.bias)
        queries, keys = torch.randn(3, 5, 16), torch.randn(3, 7, 16)
        valid = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
        read, _ = reference(queries, keys, keys, key_padding_mask=~valid)
        torch.testing.assert_close(
            ours(queries, keys, valid, torch.arange(3)), ours.norm(queries + read), atol=1e-5, rtol=1e-5
        )


def test_sequence_dropout_has_one_mask_per_sequence() -> None:
    torch.manual_seed(0)
    dropout = SequenceDropout(0.5)
    x = dropout(torch.ones(8, 5, 32))
    assert torch.equal(x, x[:, :1].expand(-1, 5, -1))
    assert set(x.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropout.eval()(torch.ones(1, 2, 3)), torch.ones(1, 2, 3))


def test_encoder_layers_are_mixed_by_learned_weights(
    make_dataset: Make, make_model: MakeModel, make_stream: Callable[..., Tensor], batch_of: BatchOf
) -> None:
    frames = [torch.randn(t, 3, 5, generator=torch.Generator().manual_seed(t)) for t in range(1, 13)]
    data = make_dataset(12, streams={"audio": make_stream(frames)})
    model = make_model(data)
    weights = model.projections["audio"].layer_weights
    assert isinstance(weights, Tensor)
    batch = batch_of(data, torch.arange(12))
    with torch.no_grad():
        weights.copy_(torch.tensor([50.0, 0.0, 0.0]))  # only the first layer
        values, valid, _ = batch.frames["audio"]
        first_only = values.clone()
        first_only[:, :, 1:] = 9.0
        torch.testing.assert_close(model(batch.frames), model({"audio": Frames(first_only, valid)}))
        weights.zero_()
        assert not torch.allclose(model(batch.frames), model({"audio": Frames(first_only, valid)}))


def test_the_feed_forward_layer_transforms_each_frame_on_its_own() -> None:
    torch.manual_seed(0)
    layer = FeedForward(width=8, dropout=0.0)
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(layer(x)[:, 2:3], layer(x[:, 2:3]))


def test_positions_differ_and_do_not_depend_on_the_length() -> None:
    positions = sinusoidal_positions(50, 16, torch.device("cpu"))
    assert positions.shape == (50, 16)
    assert torch.cdist(positions, positions).fill_diagonal_(1).min() > 0.1
    torch.testing.assert_close(positions[:7], sinusoidal_positions(7, 16, torch.device("cpu")))


def test_frame_dropout_leaves_a_frame_of_every_sequence() -> None:
    torch.manual_seed(0)
    projection = Projection(frame_shape=(3,), width=8, dropout=0.0, frame_dropout=0.5)
    valid = torch.arange(6) < torch.tensor([6, 1, 0] * 20)[:, None]
    projected = projection(Frames(torch.randn(60, 6, 3), valid))
    assert projected.present.tolist() == valid.any(1).tolist()
    assert 40 < projected.valid[::3].sum() < 80  # of 120
    assert torch.equal(projection.eval()(Frames(torch.randn(60, 6, 3), valid)).valid[::3], valid[::3])


def test_speaker_statistics_are_shrunk_towards_those_of_the_fold() -> None:
    projection = Projection(frame_shape=(1,), width=8, dropout=0.0)
    projection.set_normalization(torch.tensor([1.0]), torch.tensor([2.0]))
    values, valid = torch.full((3, 1, 1), 7.0), torch.ones(3, 1, dtype=torch.bool)
    speakers = SpeakerNorm(torch.full((3, 1), 5.0), torch.full((3, 1), 1.0), torch.tensor([0.0, 1.0, 0.5]))
    inputs = projection(Frames(values, valid, speakers)).inputs.flatten()
    # (7 - 1) / 2, (7 - 5) / 1, and the mean of means and of variances.
    torch.testing.assert_close(inputs, torch.tensor([3.0, 2.0, 4.0 / 2.5**0.5]))
