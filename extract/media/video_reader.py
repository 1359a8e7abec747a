"""The protocol of video readers; its implementations are `DecordVideo` and `PyavVideo`."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ...shared.timing import Seconds

RgbImage = NDArray[np.uint8]
"""An image (h, w, 3), RGB, 0 to 255."""

Backend = Literal["auto", "pyav"]
"""Which reader decodes a video: decord where it can, or PyAV in any case."""


class DecodeFallbackError(Exception):
    """decord failed in the middle of a video.

    The work that needs the video has to be redone from its start with backend="pyav": which frames decord delivers
    before it fails depends on how far it has read ahead, so that continuing in the middle would not be reproducible.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


class VideoReader(Protocol):
    """An open video file.

    Attributes:
        times: presentation time of each frame in seconds, relative to the first one, ascending, (frames,).
        end: end of the last frame, on the same clock.
        file_end: end of the last packet of any track, in seconds of the container's clock; None if unknown.
    """

    times: NDArray[np.float64]
    end: Seconds
    file_end: Seconds | None

    def decode(self, wanted: Collection[int]) -> Iterator[tuple[int, RgbImage]]:
        """Decode sequentially and yield the wanted frames with their index into `times`, each at most once, ascending.

        The images are as they are shown: upright, not mirrored, with square pixels.

        Raises:
            DecodeFallbackError: this reader failed; PyAV may be able to continue.
            MediaError: the file cannot be decoded.
        """
        ...
