"""Operations on batches of padded sequences (b, t, d) that several parts of the network need."""

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

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) -> (b, t, d)."""
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(x.new_ones(len(x), 1, x.shape[-1]), self.p)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid ones of t: (b, t, d), (b, t) -> (b, d); zeros where there is none."""
    weights = valid.to(values.dtype)[..., None]
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)
