"""From a decoded frame to the picture that is shown: square pixels, upright, not mirrored.

A decoder returns what was encoded. How it is shown follows from the frame's display matrix and from the aspect ratio of
its pixels; like its size, both may change within a film.
"""

from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import SideData
from numpy.typing import NDArray

from .probe import check_frame_size
from .video_reader import RgbImage

Orientation = tuple[int, int, int, int]
"""Matrix (a, b, c, d) of -1, 0 and 1: a pixel at (x, y) is shown at (a x + c y, b x + d y), up to a translation."""

UPRIGHT: Orientation = (1, 0, 0, 1)

_MATRIX_BYTES = 36


def orientation(frame: av.VideoFrame) -> Orientation:
    """Orientation of a frame by its display matrix (of the container or of the codec); `UPRIGHT` without one."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, SideData) or data.buffer_size < _MATRIX_BYTES:
        return UPRIGHT
    # libavutil/display.h: nine 32-bit integers in the machine's byte order, (a, b, u, c, d, v, x, y, w).
    return nearest_orientation(np.frombuffer(bytes(data), np.int32, count=9)[[0, 1, 3, 4]])


def nearest_orientation(matrix: NDArray[np.int32]) -> Orientation:
    """The one of the eight orientations that is nearest to a display matrix (a, b, c, d)."""
    a, b, c, d = (int(value) for value in matrix)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return -1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1
    return 0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0


def oriented(image: RgbImage, matrix: Orientation) -> RgbImage:
    """Show an image (h, w, 3) in an orientation; (w, h, 3) for a quarter turn."""
    a, b, c, d = matrix
    if a == 0:
        image = image.transpose(1, 0, 2)
    # Horizontally a pixel moves with a or c, vertically with b or d.
    return image[:: b + d, :: a + c]


def shown_width(width: int, pixel_aspect: Fraction | None) -> int:
    """Width of a frame in square pixels, its height being kept.

    Args:
        width: width of the decoded frame.
        pixel_aspect: width of a pixel divided by its height; None or 0 if unknown, which means square.
    """
    return max(1, round(width * pixel_aspect)) if pixel_aspect else width


class Projector:
    """Converts decoded frames to the pictures that they show.

    The conversion to RGB and the scaling are those of libavfilter, as in FFmpeg's programs. Its graph is rebuilt where
    the frames change.
    """

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None
        self._made_for: tuple[object, ...] = ()

    def picture(self, frame: av.VideoFrame, pixel_aspect: Fraction | None) -> RgbImage:
        """The picture (h, w, 3) that a frame shows: square pixels (the height is kept), turned and mirrored.

        Raises MediaError for frames above MAX_PIXELS.
        """
        width = shown_width(frame.width, pixel_aspect)
        check_frame_size(max(width, frame.width), frame.height)
        needed = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, width)
        if self._graph is None or needed != self._made_for:
            self._graph = _rgb_graph(frame, width)
            self._made_for = needed
        self._graph.push(frame)
        converted = self._graph.pull()
        assert isinstance(converted, av.VideoFrame)
        return oriented(np.asarray(converted.to_ndarray(), np.uint8), orientation(frame))


def _rgb_graph(frame: av.VideoFrame, width: int) -> av.filter.Graph:
    """A filter graph that scales frames like this one to `width` and converts them to 8-bit RGB."""
    graph = av.filter.Graph()
    # Frames are small; several threads would cost more than they save.
    graph.threads = 1
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
        )
    ]
    if width != frame.width:
        nodes.append(graph.add("scale", f"{width}:{frame.height}"))
    nodes += [graph.add("format", "rgb24"), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    return graph
