"""Layers that several fusion heads share; all of them ignore invalid frames."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ....shared.errors import TrainingError
from ..dropout import Dropout
from ..layers import sinusoidal_positions
from ..losses import contrast
from ..pooling import Projected, masked_mean

MASKED = -1e4
"""Score of a masked position: finite, so that a row without valid positions is no NaN."""


def utterance_vectors(streams: Sequence[Projected]) -> list[Float[Tensor, "b d"]]:
    """The mean over the valid frames of each stream."""
    return [masked_mean(side.values, side.valid) for side in streams]


def with_positions(x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
    """Add sinusoidal positions."""
    return x + sinusoidal_positions(x.shape[1], x.shape[2], x.device)


def masked_softmax(scores: Float[Tensor, "*n k"], valid: Bool[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
    """Softmax over the last axis where `valid`; zeros elsewhere, and in rows without any valid position."""
    return scores.masked_fill(~valid, MASKED).softmax(-1) * valid


def valid_frames(side: Projected) -> Float[Tensor, "b t d"]:
    """The frames of a stream, zero where they are invalid."""
    return side.values.masked_fill(~side.valid[..., None], 0)


def valid_first(
    x: Float[Tensor, "b t d"], valid: Bool[Tensor, "b t"]
) -> tuple[Float[Tensor, "b t d"], Int[Tensor, "b t d"]]:
    """Move the valid frames to the front, in their order; also the index of the frames (for `gather`, `scatter`)."""
    index = (~valid).int().argsort(dim=1, stable=True)[..., None].expand_as(x)
    return x.gather(1, index), index


class Attention(nn.Module):
    """Multi-head attention with a mask over the keys (Vaswani et al. 2017).

    Raises TrainingError if the heads do not divide the width.
    """

    def __init__(self, *, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise TrainingError(
                f"expected a width that {heads} heads divide, got {width}; change train.width, train.heads, or"
                " heads in train.fusion_options"
            )
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        keys: Float[Tensor, "b k d"],
        valid: Bool[Tensor, "b *rows k"],
        values: Float[Tensor, "b k d"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """Attend to the valid keys, of which every row has at least one; `values` are the keys unless given.

        `valid` is (b, k) for all queries, or (b, q, k) for each of them.
        """
        q, k = self._split(self.query(queries)), self._split(self.key(keys))
        v = self._split(self.value(keys if values is None else values))
        mask = valid[:, None, None] if valid.dim() == 2 else valid[:, None]
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        result: Tensor = self.output(read.transpose(1, 2).flatten(2))
        return result

    def _split(self, x: Tensor) -> Tensor:
        """Reshape (b, t, d) to (b, heads, t, d / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class TransformerLayer(nn.Module):
    """Attention and feed-forward layer with residuals and LayerNorm, after them (post-norm) or before (pre-norm).

    With `keys` the layer attends to another sequence, without to its own. Pre-norm layers normalize queries and keys
    alike.
    """

    def __init__(
        self, *, width: int, heads: int, dropout: float, hidden: int | None = None, pre_norm: bool = False
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.attention = Attention(width=width, heads=heads)
        inner = hidden or 2 * width
        self.feed_forward = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), Dropout(dropout), nn.Linear(inner, width))
        self.dropout = Dropout(dropout)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(
        self, x: Float[Tensor, "b t d"], valid: Bool[Tensor, "b *rows k"], keys: Float[Tensor, "b k d"] | None = None
    ) -> Float[Tensor, "b t d"]:
        """Transform x; `valid` masks the keys, see Attention."""
        first, second = self.norms
        if self.pre_norm:
            queries = first(x)
            x = x + self.dropout(self.attention(queries, queries if keys is None else first(keys), valid))
            after: Tensor = x + self.dropout(self.feed_forward(second(x)))
            return after
        x = first(x + self.dropout(self.attention(x, x if keys is None else keys, valid)))
        normed: Tensor = second(x + self.dropout(self.feed_forward(x)))
        return normed


class PreNormStack(nn.Module):
    """Pre-norm layers with a hidden layer of four times the width, and a LayerNorm after the last one.

    With `keys` all layers attend to this other sequence, which they do not change.
    """

    def __init__(self, *, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TransformerLayer(width=width, heads=heads, dropout=dropout, hidden=4 * width, pre_norm=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x: Float[Tensor, "b t d"], valid: Bool[Tensor, "b k"], keys: Float[Tensor, "b k d"] | None = None
    ) -> Float[Tensor, "b t d"]:
        """Transform x; `valid` masks the keys."""
        for layer in self.layers:
            x = layer(x, valid, keys)
        normed: Tensor = self.norm(x)
        return normed


class MatchingAttention(nn.Module):
    """Every sequence is matched with every sequence, itself too; all directions share one matrix of rank r.

    score(Q, K) = (Q U + u)(K P)' / sqrt(r), match(Q, K) = softmax(score) K: the values are the sequence itself.
    X_s' = LayerNorm(gelu(sum over all streams of match(X_s, X_u)) + X_s), with a LayerNorm of its own for each stream.
    """

    def __init__(self, *, width: int, rank: int, streams: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, rank)
        self.key = nn.Linear(width, rank, bias=False)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(streams))

    def forward(
        self, sequences: Sequence[Float[Tensor, "b _ d"]], valid: Sequence[Bool[Tensor, "b *rows _"]]
    ) -> list[Float[Tensor, "b _ d"]]:
        """Transform the sequences; `valid` masks the keys of each, see Attention."""
        keys = [self.key(x) for x in sequences]
        masks = [mask[:, None] if mask.dim() == 2 else mask for mask in valid]
        results = []
        for x, norm in zip(sequences, self.norms, strict=True):
            query = self.query(x)
            matched = [
                # Scaled by the square root of the width of the queries, which is r.
                F.scaled_dot_product_attention(query, key, values, attn_mask=mask)
                for key, values, mask in zip(keys, sequences, masks, strict=True)
            ]
            results.append(norm(F.gelu(torch.stack(matched).sum(0)) + x))
        return results


class PackedLstm(nn.Module):
    """A bidirectional LSTM over the valid frames, which are packed by length: padding is never read.

    Invalid frames between valid ones are removed first; outputs stand at their frames, zero elsewhere.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__()
        if width % 2:
            raise TrainingError(
                f"expected an even width for the two directions of an LSTM, got {width}; change train.width"
            )
        self.lstm = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)

    def forward(
        self, x: Float[Tensor, "b t d"], valid: Bool[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b d"]]:
        """Outputs of both directions joined, (b, t, d), and the last state of each direction joined, (b, d)."""
        frames, index = valid_first(x, valid)
        lengths = valid.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)
        output, (last, _) = self.lstm(packed)
        padded, _ = pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])
        outputs = torch.zeros_like(padded).scatter(1, index, padded)
        return outputs * valid[..., None], last.transpose(0, 1).flatten(1)


def supervised_contrastive(
    vectors: Float[Tensor, "b d"], labels: Int[Tensor, " b"], rows: Int[Tensor, " b"], temperature: float
) -> Float[Tensor, ""]:
    """Supervised contrastive loss of unit vectors (L_out of Khosla et al. 2020); 0 if no row has a positive.

    A row is no positive of itself or of a copy (equal numbers in `rows`), nor in their denominators.
    """
    unit = F.normalize(vectors.float(), dim=-1)
    allowed = rows[:, None] != rows
    return contrast(
        (unit @ unit.T).float() / temperature, (labels[:, None] == labels) & allowed, allowed, sum_positives=False
    )


def paired_contrastive(
    first: Float[Tensor, "b d"], second: Float[Tensor, "b d"], rows: Int[Tensor, " b"], temperature: float
) -> Float[Tensor, ""]:
    """InfoNCE by cosine: each row of `first` finds its own in `second`; 0 for less than two rows.

    Copies of an utterance (equal numbers in `rows`) are left out of each other's denominators.
    """
    similarities = F.normalize(first.float(), dim=-1) @ F.normalize(second.float(), dim=-1).T / temperature
    own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    return contrast(similarities, own, own | (rows[:, None] != rows), sum_positives=False)
