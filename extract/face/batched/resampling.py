"""Resizing images of any sizes to squares, many at once, on any device.

The filter is that of Pillow and PyTorch with antialiasing: a triangle as wide as two pixels of the smaller image. It
is separable, so an image is resized by two matrix products. They run in float64, where the products of Pillow, which
have whole numbers of up to 30 bits, are exact: `rounded` results are the bytes that Pillow 13 computes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ...encoders.transfer import to_device

MAX_BYTES = 256 << 20
"""Bytes of the images that are resized at once, as float64 and padded to the largest of them."""

FRACTION_BITS = 22
"""Bits after the point in Pillow's weights."""


def resize_to_squares(images: Sequence[Tensor], size: int, device: torch.device, *, rounded: bool) -> Tensor:
    """Resize images to squares.

    Args:
        images: uint8 images (h, w, 3) of any sizes, on the host.
        size: side of the results, in pixels.
        device: device that computes, and that keeps the result.
        rounded: round to whole numbers after each of the two products, as Pillow does.

    Returns:
        Float tensor (n, 3, size, size), 0 to 255.
    """
    if rounded:
        turned = [_vertical_first(image.shape[0], image.shape[1], size) for image in images]
        images = [image.transpose(0, 1) if turn else image for image, turn in zip(images, turned, strict=True)]
    resized = torch.cat([_resize(part, size, device, rounded=rounded) for part in _parts(images)])
    if rounded and any(turned):
        return torch.where(to_device(torch.tensor(turned), device)[:, None, None, None], resized.mT, resized)
    return resized


def _vertical_first(height: int, width: int, size: int) -> bool:
    """Whether Pillow 13 resizes the columns before the rows, found by trial. Where it rounds in between, it matters.

    Earlier versions always begin with the rows: a fifth of the pixels of such a face then differ by one.
    """
    return height - size > max(0, 2 * (width - size))


def _parts(images: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Consecutive images that are resized at once."""
    begin = height = width = 0
    for number, image in enumerate(images):
        height, width = max(height, image.shape[0]), max(width, image.shape[1])
        if number > begin and (number + 1 - begin) * height * width * 24 > MAX_BYTES:
            yield images[begin:number]
            begin, height, width = number, *image.shape[:2]
    yield images[begin:]


def _resize(images: Sequence[Tensor], size: int, device: torch.device, *, rounded: bool) -> Tensor:
    shapes = np.array([image.shape[:2] for image in images])
    pixels = to_device(torch.cat([image.flatten() for image in images]), device)
    begins = np.concatenate([[0], np.cumsum(shapes.prod(1))[:-1]])
    numbers = to_device(torch.from_numpy(np.column_stack([begins, shapes])), device)
    begin, heights, widths = numbers.T[:, :, None]
    rows = torch.arange(int(shapes[:, 0].max()), device=device).minimum(heights - 1)
    columns = torch.arange(int(shapes[:, 1].max()), device=device).minimum(widths - 1)
    # Padded to one size by repeating the last row and column, whose weights are zero there.
    place = begin[:, :, None] + rows[:, :, None] * widths[:, :, None] + columns[:, None, :]
    padded = pixels.view(-1, 3)[place].permute(0, 3, 1, 2).double()
    across = padded.flatten(1, 2) @ _weights(widths, columns.shape[1], size, rounded=rounded).mT
    if rounded:
        across = _to_bytes(across)
    across = across.reshape(len(images), 3, rows.shape[1], size)
    down = _weights(heights, rows.shape[1], size, rounded=rounded)[:, None] @ across
    return (_to_bytes(down) if rounded else down).float()


def _weights(lengths: Tensor, longest: int, size: int, *, rounded: bool) -> Tensor:
    """Weights (n, size, longest) with which pixels of each length (n, 1) contribute to `size` pixels."""
    scale = (lengths.double() / size)[:, :, None]
    width = scale.clamp(min=1.0)
    middle = (torch.arange(size, device=lengths.device).double()[:, None] + 0.5) * scale
    pixels = torch.arange(longest, device=lengths.device)
    # Whole pixels of each window, rounded as in Pillow.
    first = (middle - width + 0.5).long().clamp(min=0)
    last = (middle + width + 0.5).long().minimum(lengths[:, :, None])
    weights = (1.0 - ((pixels - middle + 0.5) / width).abs()).clamp(min=0.0)
    weights = weights * ((pixels >= first) & (pixels < last))
    weights = weights / weights.sum(2, keepdim=True)
    return (weights * 2**FRACTION_BITS + 0.5).floor() if rounded else weights


def _to_bytes(sums: Tensor) -> Tensor:
    whole: Tensor = ((sums + 2 ** (FRACTION_BITS - 1)) / 2**FRACTION_BITS).floor()
    return whole.clamp(0, 255)
