"""MTCNN's cascade of three networks (Zhang et al. 2016) for a batch of images, without a loop over candidates.

The networks and their weights are those of facenet-pytorch. Its `detect_face` cuts out and resizes each candidate in a
Python loop, a few kernels per candidate, and waits for the device at every scale. Here all sizes of the pyramid and all
candidates are means over rectangles of whole pixels (adaptive average pooling, as there), which an integral image gives
exactly, by integer arithmetic: four reads per value, in one call per stage.

    images --PNet, at each scale of the pyramid--> candidates --RNet, 24 x 24--> fewer --ONet, 48 x 48--> faces

The inputs of the networks are bit for bit those of `detect_face`.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...encoders.transfer import to_device

THRESHOLDS = (0.6, 0.7, 0.7)
"""Probabilities that a candidate needs after each network; the defaults of facenet-pytorch."""

PYRAMID_FACTOR = 0.709
CELL, STRIDE = 12, 2
"""Side of the field that PNet sees, and distance of the fields, in pixels of a scaled image."""

CANDIDATES_PER_CALL = {"cpu": 512, "cuda": 8192}
"""Candidates given to RNet and ONet at once."""


class Candidates(NamedTuple):
    """Candidates in all images of a batch: boxes (n, 4), probabilities (n,), and the number of the image of each."""

    boxes: Tensor
    scores: Tensor
    images: Tensor

    def take(self, which: Tensor) -> "Candidates":
        """Those of a mask or of an index (m,)."""
        return Candidates(*(values[which] for values in self))


class Cascade:
    """MTCNN on a device."""

    def __init__(self, device: torch.device) -> None:
        """Load the weights from the package facenet-pytorch."""
        # Imports torchvision, which takes a second: not for streams without detection.
        from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

        self.device = device
        self._pnet, self._rnet, self._onet = (net().to(device).requires_grad_(False) for net in (PNet, RNet, ONet))

    @torch.inference_mode()
    def detect(self, images: Tensor, *, min_face: int) -> list[NDArray[np.float32]]:
        """Detect the faces of a batch.

        Args:
            images: uint8 images (b, h, w, 3) on the device.
            min_face: height of the smallest face, in pixels.

        Returns:
            Faces (n, 5) of each image, the largest first: x0, y0, x1, y1 in pixels, and the probability.
        """
        height, width = images.shape[1:3]
        scales = pyramid_scales(min(height, width), min_face)
        if not scales:
            return [np.zeros((0, 5), np.float32)] * len(images)
        sums = integral_image(images)
        found, offsets = self._propose(sums, scales)
        found = found._replace(boxes=_squared(_moved(found.boxes, offsets, border=0)))
        found, offsets = self._refine(self._rnet, found, sums, side=24, threshold=THRESHOLDS[1])
        kept = _nms(found, found.images, 0.7)
        found = found.take(kept)
        found = found._replace(boxes=_squared(_moved(found.boxes, offsets[kept], border=1)))
        found, offsets = self._refine(self._onet, found, sums, side=48, threshold=THRESHOLDS[2])
        return _faces(found._replace(boxes=_moved(found.boxes, offsets, border=1)), len(images))

    def _propose(self, sums: Tensor, scales: list[float]) -> tuple[Candidates, Tensor]:
        """Candidates of PNet, and the offsets (n, 4) of their sides, as fractions of their size."""
        height, width = sums.shape[1] - 1, sums.shape[2] - 1
        outputs = []
        for scale in scales:
            sides = int(height * scale + 1), int(width * scale + 1)
            offsets, probabilities = self._pnet(_normalized(resized(sums, sides)))
            outputs.append((probabilities[:, 1], offsets.permute(0, 2, 3, 1)))
        scores = torch.cat([probabilities.flatten() for probabilities, _ in outputs])
        # The only wait for the device of this stage: for all scales at once.
        (index,) = (scores >= THRESHOLDS[0]).nonzero(as_tuple=True)
        offsets = torch.cat([values.flatten(0, 2) for _, values in outputs])[index]
        shapes = np.array([probabilities.shape for probabilities, _ in outputs])
        ends = np.cumsum(shapes.prod(1))
        levels = to_device(torch.from_numpy(np.column_stack([ends, ends - shapes.prod(1), shapes])), sums.device)
        level = torch.bucketize(index, levels[:, 0].contiguous(), right=True)
        begins, _, rows, columns = levels[level, 1:].T
        place = index - begins
        image = place // (rows * columns)
        cell = torch.stack([place % columns, place % (rows * columns) // columns], 1).float()
        shrunk = to_device(torch.tensor(scales), sums.device)[level, None]
        corners = [((STRIDE * cell + 1) / shrunk).floor(), ((STRIDE * cell + CELL) / shrunk).floor()]
        found = Candidates(torch.cat(corners, 1), scores[index], image)
        kept = _nms(found, level * len(sums) + image, 0.5)
        kept = kept[_nms(found.take(kept), image[kept], 0.7)]
        return found.take(kept), offsets[kept]

    def _refine(
        self, network: nn.Module, found: Candidates, sums: Tensor, *, side: int, threshold: float
    ) -> tuple[Candidates, Tensor]:
        """The candidates that a network accepts, with its probabilities, and the offsets (n, 4) of their sides."""
        if not len(found.scores):
            return found, found.boxes
        regions, inside = _whole_pixels(found.boxes, sums)
        pixels = _normalized(cut_out(sums, found.images, regions, side))
        parts = [network(part) for part in torch.split(pixels, CANDIDATES_PER_CALL[sums.device.type])]
        offsets, *_, probabilities = (torch.cat(values) for values in zip(*parts, strict=True))
        scores = probabilities[:, 1]
        (kept,) = ((scores > threshold) & inside).nonzero(as_tuple=True)
        return Candidates(found.boxes[kept], scores[kept], found.images[kept]), offsets[kept]


def pyramid_scales(side: int, min_face: int) -> list[float]:
    """Scales at which PNet looks for faces of `min_face` pixels and more in images whose shorter side is `side`."""
    scale = CELL / min_face
    scaled = side * scale
    scales = []
    while scaled >= CELL:
        scales.append(scale)
        scale *= PYRAMID_FACTOR
        scaled *= PYRAMID_FACTOR
    return scales


def integral_image(images: Tensor) -> Tensor:
    """Sums (b, h + 1, w + 1, 3) of the pixels above and to the left, of uint8 images (b, h, w, 3)."""
    height, width = images.shape[1:3]
    dtype = torch.int32 if height * width * 255 < 2**31 else torch.int64
    sums = images.new_zeros((len(images), height + 1, width + 1, 3), dtype=dtype)
    torch.cumsum(images, 1, dtype=dtype, out=sums[:, 1:, 1:])
    sums[:, 1:, 1:] = sums[:, 1:, 1:].cumsum(2, dtype=dtype)
    return sums


def resized(sums: Tensor, sides: tuple[int, int]) -> Tensor:
    """Images (b, 3, height, width), float32, from their integral image: `interpolate` in the mode `area`."""
    (top, bottom), (left, right) = (
        _bins(torch.full((1,), length - 1, device=sums.device), side)
        for length, side in zip(sums.shape[1:3], sides, strict=True)
    )
    rows = sums.index_select(1, bottom[0]) - sums.index_select(1, top[0])
    values = rows.index_select(2, right[0]) - rows.index_select(2, left[0])
    means = values.float() / (bottom - top)[0, :, None, None] / (right - left)[0, :, None]
    return means.permute(0, 3, 1, 2)


def cut_out(sums: Tensor, images: Tensor, regions: Tensor, side: int) -> Tensor:
    """Cut regions out of images and resize them, as `interpolate` in the mode `area`.

    Args:
        sums: integral image of the images.
        images: number of the image of each region, (n,).
        regions: x0, y0, x1, y1 of each region in whole pixels, (n, 4), inside of the image and not empty.
        side: side of the results, in pixels.

    Returns:
        Float tensor (n, 3, side, side), 0 to 255.
    """
    lengths = regions[:, 2:] - regions[:, :2]
    left, right = (edges + regions[:, :1] for edges in _bins(lengths[:, 0], side))
    top, bottom = (edges + regions[:, 1:2] for edges in _bins(lengths[:, 1], side))

    def corner(rows: Tensor, columns: Tensor) -> Tensor:
        return sums[images[:, None, None], rows[:, :, None], columns[:, None, :]]

    values = corner(bottom, right) - corner(top, right) - corner(bottom, left) + corner(top, left)
    means = values.float() / (bottom - top)[:, :, None, None] / (right - left)[:, None, :, None]
    # The layout that `interpolate` returns: the last bits of a convolution depend on it.
    return means.permute(0, 3, 1, 2).contiguous()


def _bins(lengths: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Begin and end (n, count) of the bins into which adaptive pooling divides each length (n,)."""
    number = torch.arange(count, device=lengths.device)
    begin = number * lengths[:, None] // count
    end = -(-(number + 1) * lengths[:, None] // count)
    return begin, end


def _normalized(pixels: Tensor) -> Tensor:
    return (pixels - 127.5) * 0.0078125


def _whole_pixels(boxes: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels x0, y0, x1, y1 (n, 4) of boxes in the image, and whether there are any, (n,).

    facenet-pytorch counts pixels from 1: a box begins one pixel before its first coordinate.
    """
    limits = to_device(torch.tensor([sums.shape[2] - 1, sums.shape[1] - 1]), boxes.device)
    whole = boxes.trunc().long()
    begin = whole[:, :2].clamp(min=1) - 1
    end = whole[:, 2:].minimum(limits)
    inside = (end > begin).all(1)
    begin = begin.minimum(limits - 1)
    return torch.cat([begin, end.maximum(begin + 1)], 1), inside


def _moved(boxes: Tensor, offsets: Tensor, *, border: int) -> Tensor:
    """Boxes whose sides are moved by fractions of their size; `border` is added to the size."""
    size = boxes[:, 2:] - boxes[:, :2] + border
    return boxes + offsets * torch.cat([size, size], 1)


def _squared(boxes: Tensor) -> Tensor:
    """Squares with the centers of the boxes and their longer sides."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(1, keepdim=True).values
    begin = boxes[:, :2] + size * 0.5 - side * 0.5
    return torch.cat([begin, begin + side], 1)


def _nms(found: Candidates, groups: Tensor, threshold: float) -> Tensor:
    """Index of the candidates that remain when those that overlap a better one of their group are dropped."""
    from torchvision.ops import batched_nms

    # torchvision moves the groups apart. Far from zero float32 has few digits left, and large batches are for GPUs.
    boxes = found.boxes.double() if found.boxes.is_cuda else found.boxes
    kept: Tensor = batched_nms(boxes, found.scores, groups, threshold)
    return kept


def _faces(found: Candidates, count: int) -> list[NDArray[np.float32]]:
    """The faces (n, 5) of each image, without those that lie within a better one; on the host, as there are few."""
    from facenet_pytorch.models.utils.detect_face import batched_nms_numpy

    boxes, scores, images = (values.cpu() for values in found)
    kept = batched_nms_numpy(boxes, scores, images, 0.7, "Min")
    faces = torch.cat([boxes, scores[:, None]], 1)[kept].numpy()
    owner = images[kept].numpy()
    result = []
    for number in range(count):
        own = faces[owner == number]
        sizes = (own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1])
        result.append(own[np.argsort(sizes)[::-1]])
    return result
