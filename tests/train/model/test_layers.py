"""The individual layers of Foal-Net."""

from collections.abc import Callable

import torch
from torch import Tensor

from foal.train.data.dataset import Dataset
from foal.train.data.sequences import Batch, Frames
from foal.train.model.foalnet import FoalNet
from foal.train.model.layers import CrossAttention, SequenceDropout, masked_mean

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


def test_the_masked_mean_ignores_invalid_frames() -> None:
    values = torch.arange(12.0).view(2, 3, 2)
    valid = torch.tensor([[True, False, True], [False, False, False]])
    assert masked_mean(values, valid).tolist() == [[2.0, 3.0], [0.0, 0.0]]


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
        values, valid = batch.frames["audio"]
        first_only = values.clone()
        first_only[:, :, 1:] = 9.0
        torch.testing.assert_close(model(batch.frames), model({"audio": Frames(first_only, valid)}))
        weights.zero_()
        assert not torch.allclose(model(batch.frames), model({"audio": Frames(first_only, valid)}))
