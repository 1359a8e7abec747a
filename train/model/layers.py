"""One cross-attention layer of the fusion (Li et al. 2024, section 2.2)."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from .sequences import SequenceDropout


class CrossAttention(nn.Module):
    """One layer: multi-head attention into another sequence, dropout, residual, LayerNorm (section 2.2).

    Dropout falls on what was read, not on the attention weights: then PyTorch's fused kernels apply on a CPU too,
    which is two to three times faster and never holds a (t_q, t_k) matrix.
    """

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = SequenceDropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, queries: Float[Tensor, "q t_q d"], keys: Float[Tensor, "b t_k d"], valid: Bool[Tensor, "b t_k"],
        rows: Int[Tensor, " p"],
    ) -> Float[Tensor, "p t_q d"]:  # fmt: skip
        """Let the queries read the sequences `rows` of the keys, where they are valid.

        p is a multiple of q, and the queries are repeated to it. Whatever depends on one sequence alone is computed
        once, in however many of the p pairs it is.
        """
        times = len(rows) // len(queries)
        q = self._split(self.query(queries)).repeat(times, 1, 1, 1)  # (p, heads, t_q, d / heads)
        # Picked before the heads are split: the gradient of a pick from strided memory is six times slower.
        k, v = (self._split(side(keys).index_select(0, rows)) for side in (self.key, self.value))
        mask = valid.index_select(0, rows)[:, None, None, :]  # (p, 1, 1, t_k)
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x: Tensor = self.norm(queries.repeat(times, 1, 1) + self.dropout(self.output(read)))
        return x

    def _split(self, x: Tensor) -> Tensor:
        """(p, t, d) -> (p, heads, t, d / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
