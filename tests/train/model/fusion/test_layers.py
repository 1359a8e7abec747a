"""Layers that fusion heads share: masks, attention, packed LSTM, contrastive loss."""

import math
from collections.abc import Callable

import pytest
import torch

from foal.shared.errors import TrainingError
from foal.train.model.fusion.layers import (
    Attention,
    PackedLstm,
    PreNormStack,
    TransformerLayer,
    masked_softmax,
    paired_contrastive,
    supervised_contrastive,
    utterance_vectors,
    valid_first,
    valid_frames,
    with_positions,
)
from foal.train.model.pooling import Projected

MakeStreams = Callable[..., dict[str, Projected]]


def test_the_masked_softmax_is_finite_without_valid_positions() -> None:
    scores = torch.tensor([[1.0, 5.0, 1.0], [3.0, 4.0, 5.0]])
    weights = masked_softmax(scores, torch.tensor([[True, False, True], [False, False, False]]))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]))


def test_attention_equals_its_formula_on_the_valid_keys() -> None:
    torch.manual_seed(0)
    attention = Attention(width=4, heads=1)
    queries, keys, values = torch.randn(1, 2, 4), torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    valid = torch.tensor([[True, True, False]])
    weights = (attention.query(queries) @ attention.key(keys[:, :2]).transpose(1, 2) / 2).softmax(-1)
    expected = attention.output(weights @ attention.value(keys[:, :2]))
    torch.testing.assert_close(attention(queries, keys, valid), expected)
    expected = attention.output(weights @ attention.value(values[:, :2]))
    torch.testing.assert_close(attention(queries, keys, valid, values), expected)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_transformer_layer_ignores_invalid_keys(make_streams: MakeStreams, pre_norm: bool) -> None:
    torch.manual_seed(0)
    layer = TransformerLayer(width=16, heads=2, dropout=0.5, pre_norm=pre_norm).eval()
    clean, dirty = make_streams(), make_streams(garbage=50.0)
    valid = clean["audio"].valid
    for keys in (None, "face"):
        expected, actual = (
            layer(streams["audio"].values, streams[keys or "audio"].valid, streams[keys].values if keys else None)
            for streams in (clean, dirty)
        )
        torch.testing.assert_close(actual[valid], expected[valid])


def test_the_packed_lstm_equals_the_lstm_over_the_valid_frames(make_streams: MakeStreams) -> None:
    torch.manual_seed(0)
    lstm = PackedLstm(width=16)
    audio = make_streams(padding=2, garbage=9.0)["audio"]
    valid = audio.valid.clone()
    valid[1, 2] = False  # a gap
    outputs, last = lstm(audio.values, valid)
    for row in range(6):
        expected, (state, _) = lstm.lstm(audio.values[row][valid[row]][None])
        torch.testing.assert_close(outputs[row][valid[row]], expected[0])
        torch.testing.assert_close(last[row], state[:, 0].flatten())
    assert (outputs[~valid] == 0).all()
    with pytest.raises(TrainingError, match="expected an even width for the two directions of an LSTM, got 3"):
        PackedLstm(width=3)


def test_valid_frames_come_first_and_invalid_ones_are_zero(make_streams: MakeStreams) -> None:
    audio = make_streams(garbage=9.0)["audio"]
    valid = audio.valid.clone()
    valid[1, 2] = False
    frames, index = valid_first(audio.values, valid)
    torch.testing.assert_close(frames[1, :7], audio.values[1][valid[1]])
    torch.testing.assert_close(torch.zeros_like(frames).scatter(1, index, frames), audio.values)
    kept = valid_frames(audio)
    assert (kept[~audio.valid] == 0).all()
    torch.testing.assert_close(kept[audio.valid], audio.values[audio.valid])


def test_the_contrastive_loss_has_no_positives_among_copies() -> None:
    vectors = torch.eye(4)
    labels, rows = torch.tensor([0, 0, 1, 1]), torch.arange(4)
    # All similarities are equal: each of the three other rows has a third of the probability.
    assert supervised_contrastive(vectors, labels, rows, 0.1).item() == pytest.approx(math.log(3))
    assert supervised_contrastive(vectors, labels, torch.tensor([0, 0, 2, 2]), 0.1) == 0
    assert supervised_contrastive(vectors[:1], labels[:1], rows[:1], 0.1) == 0


def test_vectors_are_means_and_positions_are_added(make_streams: MakeStreams) -> None:
    streams = make_streams(garbage=5.0)
    audio, _ = utterance_vectors(list(streams.values()))
    torch.testing.assert_close(audio[2], streams["audio"].values[2, 0])
    assert with_positions(torch.zeros(1, 3, 4))[0, 0].tolist() == [0.0, 1.0, 0.0, 1.0]


def test_pre_norm_layers_normalize_queries_and_keys_alike() -> None:
    torch.manual_seed(0)
    layer = TransformerLayer(width=4, heads=2, dropout=0.0, pre_norm=True)
    torch.nn.init.normal_(layer.norms[0].weight)  # type: ignore[arg-type]
    x, valid = torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    torch.testing.assert_close(layer(x, valid, x), layer(x, valid))


def test_a_pre_norm_stack_ends_with_a_norm_and_does_not_change_the_keys() -> None:
    torch.manual_seed(0)
    stack = PreNormStack(width=4, heads=2, layers=2, dropout=0.0)
    x, keys, valid = torch.randn(1, 3, 4), torch.randn(1, 2, 4), torch.ones(1, 2, dtype=torch.bool)
    expected = stack.layers[1](stack.layers[0](x, valid, keys), valid, keys)
    torch.testing.assert_close(stack(x, valid, keys), stack.norm(expected))
    torch.testing.assert_close(stack(x, valid, keys).mean(-1), torch.zeros(1, 3))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(TrainingError, match="expected a width that 3 heads divide, got 16"):
        Attention(width=16, heads=3)


def test_copies_are_no_negatives_of_each_other() -> None:
    vectors = torch.eye(4)
    # Equal vectors of all rows: each of four columns has a quarter of the probability, without copies half of it.
    same = torch.ones(4, 4)
    assert paired_contrastive(same, same, torch.arange(4), 0.1).item() == pytest.approx(math.log(4))
    assert paired_contrastive(same, same, torch.tensor([0, 0, 0, 1]), 0.1).item() == pytest.approx(
        (3 * math.log(2) + math.log(4)) / 4
    )
    assert paired_contrastive(vectors, vectors, torch.zeros(4, dtype=torch.long), 0.1) == 0
    assert paired_contrastive(vectors[:1], vectors[:1], torch.zeros(1, dtype=torch.long), 0.1) == 0
