"""Operations on batches of padded sequences (b, t, d) that several parts of the network need."""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)


class SequenceDropout(nn.Module):
    """Dropout that takes a unit from all frames of a sequence or from none.

    Drawn anew for every frame it would average out in the mean over time: 100 frames leave a tenth of its noise. The
    paper's falls on vectors that are averaged already. It is also far cheaper on a CPU, which draws one by one.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """The sequences, some of whose units are zero and the others the larger for it."""
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(x.new_ones(len(x), 1, x.shape[-1]), self.p)


def masked_mean(values: Float[Tensor, "b t d"], valid: Bool[Tensor, "b t"]) -> Float[Tensor, "b d"]:
    """Mean over the valid ones of t; zeros where there is none."""
    weights = valid.to(values.dtype)[..., None]
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)
