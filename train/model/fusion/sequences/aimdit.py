"""Modality augmentation and interaction, in the manner of AIMDiT (Wu et al. 2024, arXiv 2407.00743)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from .....shared.config.fusion_settings import AimditSettings
from ...architecture import Architecture
from ...layers import CrossAttention
from ...pooling import Projected
from ..base import Fused, FusionHead, Streams
from ..layers import TransformerLayer
from .interaction import Interaction


class Inception(nn.Module):
    """The mean of convolutions over (streams, slots) with kernels of 1, 3, 5, ... slots, zero-padded to the same size.

    With M streams a kernel of more than 2 M - 1 rows would reach padding only beyond these: so many are the limit. The
    kernels are added before they are applied: one convolution gives the same result.
    """

    def __init__(self, *, inputs: int, outputs: int, streams: int, kernels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, (min(size, 2 * streams - 1), size)) for size in range(1, 2 * kernels, 2)
        )

    def forward(self, x: Float[Tensor, "b i m t"]) -> Float[Tensor, "b o m t"]:
        """Convolve the picture of M streams and T slots."""
        rows, columns = self.convolutions[-1].kernel_size  # type: ignore[misc]
        kernels, biases = [], []
        for convolution in self.convolutions:
            weight: Tensor = convolution.weight  # type: ignore[assignment]
            above, left = (rows - weight.shape[-2]) // 2, (columns - weight.shape[-1]) // 2
            kernels.append(F.pad(weight, (left, left, above, above)))
            bias: Tensor = convolution.bias  # type: ignore[assignment]
            biases.append(bias)
        kernel = torch.stack(kernels).mean(0)
        return F.conv2d(x, kernel, torch.stack(biases).mean(0), padding=(rows // 2, columns // 2))


class Reader(nn.Module):
    """Cross-attention layers without feed-forward layers, all of which read the same sequence."""

    def __init__(self, *, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossAttention(width=width, heads=heads, dropout=dropout) for _ in range(layers))

    def forward(
        self, x: Float[Tensor, "b t d"], valid: Bool[Tensor, "b k"], keys: Float[Tensor, "b k d"]
    ) -> Float[Tensor, "b t d"]:
        """Read `keys` where they are valid."""
        rows = torch.arange(len(x), device=x.device)
        for layer in self.layers:
            x = layer(x, keys, valid, rows)
        return x


class AimditFusion(FusionHead):
    """Streams in T slots are one picture of M rows, which convolutions augment; then each row reads every other one.

    A slot is a share of the valid frames of an utterance, see `to_slots`. A missing stream is its placeholder, in the
    first slot.
    """

    def __init__(self, a: Architecture, options: AimditSettings) -> None:
        super().__init__()
        names = list(a.frame_shapes)
        self.slots = options.slots
        hidden = max(a.width // options.bottleneck, 1)
        self.augment = nn.Sequential(
            Inception(inputs=a.width, outputs=hidden, streams=len(names), kernels=options.kernels),
            nn.GELU(),
            Inception(inputs=hidden, outputs=a.width, streams=len(names), kernels=options.kernels),
        )
        self.norm = nn.LayerNorm(a.width)
        self.interaction = Interaction(
            names,
            width=a.width,
            build_reader=lambda: Reader(width=a.width, heads=options.heads, layers=options.layers, dropout=a.dropout),
            build_encoder=lambda width: TransformerLayer(width=width, heads=options.heads, dropout=a.dropout),
        )
        self.width = self.interaction.width

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        # Of one frame per stream only the first slot is read: the others are left out.
        longest = max(side.valid.shape[1] for side in streams.values())
        slots = [to_slots(side, self.slots if longest > 1 else 1) for side in streams.values()]
        picture = torch.stack([values for values, _ in slots], 1)  # (b, M, T, d)
        augmented = self.augment(picture.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        # The convolutions write into slots without a frame too; these are not read below.
        rows = self.norm(picture + augmented).unbind(1)
        return Fused(
            self.interaction({name: (x, valid) for name, x, (_, valid) in zip(streams, rows, slots, strict=True)})
        )


def to_slots(side: Projected, slots: int) -> tuple[Float[Tensor, "b s d"], Bool[Tensor, "b s"]]:
    """Average the valid frames of a stream in each of s slots: frame r of n valid ones is in slot floor(r s / n).

    Slots without a frame are zero and invalid, as some are if n < s; the first one always has a frame.
    """
    rank = side.valid.cumsum(1) - 1
    count = side.valid.sum(1, keepdim=True).clamp(min=1)
    slot = rank * slots // count  # (b, t)
    inside = (slot[:, None] == torch.arange(slots, device=slot.device)[:, None]) & side.valid[:, None]  # (b, s, t)
    frames = inside.sum(-1, keepdim=True)
    # A product of matrices, since adding to slots by index has no fixed order on a GPU.
    return (inside / frames.clamp(min=1)).to(side.values.dtype) @ side.values, frames[..., 0] > 0
