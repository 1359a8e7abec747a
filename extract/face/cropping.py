"""Cutting a detected face out of an image, as the encoder's weights expect it."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn

from ..media.video_reader import RgbImage
from .batched.resampling import resize_to_squares
from .config import FaceCrop
from .detector import PixelBox, center


def cut_face(image: RgbImage, box: PixelBox, *, size: int, crop: FaceCrop) -> torch.Tensor:
    """Cut out a face and resize it.

    Args:
        image: the image (h, w, 3).
        box: the face, in pixels.
        size: side of the result, in pixels.
        crop: shape and margin.

    Returns:
        Float tensor (3, size, size), 0 to 255.
    """
    cut = cut_stretched if crop.shape == "stretched" else cut_square
    return cut(image, box, size=size, margin=crop.margin)


def face_region(image: RgbImage, box: PixelBox, crop: FaceCrop) -> RgbImage:
    """The pixels (h, w, 3) of a face that `cut_face` resizes."""
    region = stretched_region if crop.shape == "stretched" else square_region
    return region(image, box, crop.margin)


def resize_faces(regions: Sequence[torch.Tensor], *, size: int, crop: FaceCrop, device: torch.device) -> torch.Tensor:
    """Resize the regions of many faces on a device.

    Args:
        regions: uint8 tensors (h, w, 3) by `face_region`, on the host.
        size: side of the results, in pixels.
        crop: how they were cut.
        device: device that computes, and that keeps the result.

    Returns:
        Float tensor (n, 3, size, size), 0 to 255: that of `cut_face`, for square faces up to 0.005.
    """
    return resize_to_squares(regions, size, device, rounded=crop.shape == "stretched")


def cut_stretched(image: RgbImage, box: PixelBox, *, size: int, margin: float) -> torch.Tensor:
    """Cut out the box of a face, and stretch it to a square.

    The pixels are those of `extract_face` of facenet-pytorch 2.5.3 for a PIL image, whose `margin` of M pixels in the
    result is M / (size - M) here. The weights of InceptionResnetV1 were trained on faces cut in this manner.

    Args:
        image: the image (h, w, 3).
        box: the face, in pixels.
        size: side of the result, in pixels.
        margin: added to the box, as a fraction of its width and of its height (half of it on each side).

    Returns:
        Float tensor (3, size, size) of integers from 0 to 255. The box ends at the edge of the image.
    """
    region = Image.fromarray(stretched_region(image, box, margin))
    face = np.array(region.resize((size, size), Image.Resampling.BILINEAR), np.float32)
    return torch.from_numpy(face).permute(2, 0, 1)


def stretched_region(image: RgbImage, box: PixelBox, margin: float) -> RgbImage:
    """The pixels of a box with a margin, (h, w, 3); a view of the image."""
    height, width = image.shape[:2]
    border = (box[2:] - box[:2]) * np.float32(margin) / 2
    # Whole pixels, rounded towards zero. The limits matter for boxes outside of the image and for empty ones only.
    x0, y0 = (int(min(max(low, 0), side - 1)) for low, side in zip(box[:2] - border, (width, height), strict=True))
    x1, y1 = (int(min(high, side)) for high, side in zip(box[2:] + border, (width, height), strict=True))
    return image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def cut_square(image: RgbImage, box: PixelBox, *, size: int, margin: float) -> torch.Tensor:
    """Cut out a square around a face, which is not stretched, and resize it.

    Args:
        image: the image (h, w, 3).
        box: the face, in pixels.
        size: side of the result, in pixels.
        margin: added around the face, as a fraction of its longer side (half of it on each side).

    Returns:
        Float tensor (3, size, size), 0 to 255. Beyond the edge of the image its outermost pixels repeat.
    """
    square = torch.from_numpy(square_region(image, box, margin)).permute(2, 0, 1)[None].float()
    return nn.functional.interpolate(square, (size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def square_region(image: RgbImage, box: PixelBox, margin: float) -> RgbImage:
    """The pixels of a square around a box with a margin, (side, side, 3)."""
    side = max(1, round(float(max(box[2] - box[0], box[3] - box[1])) * (1 + margin)))
    x, y = (round(float(middle) - side / 2) for middle in center(box))
    height, width = image.shape[:2]
    rows = np.arange(y, y + side).clip(0, height - 1)
    columns = np.arange(x, x + side).clip(0, width - 1)
    square: RgbImage = image[np.ix_(rows, columns)]
    return square
