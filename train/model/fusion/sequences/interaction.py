"""Each stream reads every other one, then itself: what the heads mult and aimdit share."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ...pooling import masked_mean

Sequences = Mapping[str, tuple[Float[Tensor, "b t d"], Bool[Tensor, "b t"]]]
"""By stream, a sequence and which of its frames are valid; each with its own t."""


class Interaction(nn.Module):
    """For every ordered pair of M streams a module reads the one from the other; then each stream reads itself.

        audio <- face  ┐
        audio <- text  ┴ join, (b, t, (M - 1) d) -> self-attention -> masked mean ┐
        face <- ...                                                               ┴ join, (b, M (M - 1) d)

    Args:
        names: the streams, M of them, at least two.
        width: width of a frame, d.
        build_reader: builds the module of a pair, called with a sequence, the mask of the other and the other.
        build_encoder: builds the self-attention of a stream from its width, called with a sequence and its mask.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        width: int,
        build_reader: Callable[[], nn.Module],
        build_encoder: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.readers = nn.ModuleDict(
            {name: nn.ModuleDict({read: build_reader() for read in names if read != name}) for name in names}
        )
        joined = (len(names) - 1) * width
        self.encoders = nn.ModuleDict({name: build_encoder(joined) for name in names})
        self.width = len(names) * joined

    def forward(self, sequences: Sequences) -> Float[Tensor, "b w"]:
        """The joined means of all streams; invalid frames are not read."""
        means = []
        for name, (x, valid) in sequences.items():
            readers: nn.ModuleDict = self.readers[name]  # type: ignore[assignment]
            read = [reader(x, sequences[other][1], sequences[other][0]) for other, reader in readers.items()]
            means.append(masked_mean(self.encoders[name](torch.cat(read, -1), valid), valid))
        return torch.cat(means, -1)
