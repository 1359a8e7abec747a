"""Pictures are those that are shown: turned, mirrored, with square pixels, of the size that each frame has.

The reference is libavfilter: transposition and mirroring by its filters, scaling by `scale`, as FFmpeg's programs do.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext

from foal.extract.media.decord_video import DecordVideo
from foal.extract.media.geometry import nearest_orientation, oriented, shown_width
from foal.extract.media.pyav_video import MAX_KEY_FRAMES, PyavVideo
from foal.extract.media.video import FULL, open_video

MakeVideo = Callable[..., Path]
RgbImage = np.ndarray
SIZE = 160, 96

EIGHT = {
    (1, 0, 0, 1): ["null"],
    (-1, 0, 0, 1): ["hflip"],
    (1, 0, 0, -1): ["vflip"],
    (-1, 0, 0, -1): ["hflip", "vflip"],
    (0, 1, -1, 0): ["transpose=clock"],
    (0, -1, 1, 0): ["transpose=cclock"],
    (0, 1, 1, 0): ["transpose=cclock_flip"],
    (0, -1, -1, 0): ["transpose=clock_flip"],
}
"""Orientations, as (a, b, c, d), and the filters that FFmpeg inserts for them."""


def scene(width: int, height: int, number: int) -> RgbImage:
    """A smooth picture without any symmetry, brighter from frame to frame."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([200 * x, 200 * y, 150 * x * y + 4 * number], 2).astype(np.uint8)


def write_scenes(
    path: Path,
    sizes: Sequence[tuple[int, int]] = (SIZE,),
    *,
    codec: str = "libx264",
    frames: int = 8,
    aspects: Sequence[Fraction | None] = (None,),
    matrix: tuple[int, int, int, int] | None = None,
    gop: int = 250,
) -> Path:
    """Write a film whose parts have the given sizes and pixel aspect ratios, each part from an encoder of its own."""
    headers = {"x264-params": "repeat-headers=1"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=headers)
        assert isinstance(stream, av.VideoStream)
        (stream.width, stream.height), stream.pix_fmt = sizes[0], "yuv420p"
        if aspects[0] is not None:
            stream.sample_aspect_ratio = aspects[0]
        if matrix is not None:
            a, b, c, d = (value << 16 for value in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for part, (width, height) in enumerate(sizes):
            encoder = av.CodecContext.create(codec, "w")
            assert isinstance(encoder, VideoCodecContext)
            encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
            encoder.time_base, encoder.framerate, encoder.options = Fraction(1, 25), Fraction(25), headers
            encoder.gop_size = gop
            if aspects[part % len(aspects)] is not None:
                encoder.sample_aspect_ratio = aspects[part % len(aspects)]
            packets = []
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(scene(width, height, number), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += encoder.encode(frame)
            for packet in packets + encoder.encode(None):
                assert packet.pts is not None
                assert packet.dts is not None
                packet.pts, packet.dts = packet.pts + part * frames, packet.dts + part * frames
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                container.mux(packet)
    return path


def filtered(path: Path, filters: Sequence[str]) -> list[RgbImage]:
    """The frames of a film, decoded without foal, behind libavfilter's filters."""
    images = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            graph = av.filter.Graph()
            nodes = [
                graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25))
            ]
            nodes += [graph.add(*text.split("=", 1)) for text in filters]
            graph.link_nodes(*nodes, graph.add("format", "rgb24"), graph.add("buffersink")).configure()
            graph.push(frame)
            images.append(graph.pull().to_ndarray())
    return images


def check_pictures(path: Path, expected: Sequence[RgbImage]) -> None:
    """Compare the pictures with the expected ones, for both readers."""
    for backend in ("auto", "pyav"):
        video = open_video(path, backend=backend)
        pictures = [image for _, _, image in video.crops([np.arange(len(expected))], [FULL])]
        assert [picture.shape for picture in pictures] == [image.shape for image in expected]
        for picture, image in zip(pictures, expected, strict=True):
            assert np.abs(picture.astype(int) - image).mean() <= 2


@pytest.mark.parametrize("matrix", EIGHT)
def test_each_of_the_eight_orientations_is_shown_as_by_ffmpeg(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    path = write_scenes(tmp_path / "v.mp4", frames=3, matrix=matrix)
    check_pictures(path, filtered(path, EIGHT[matrix]))


def test_pixels_move_as_the_matrix_says() -> None:
    image = np.arange(2 * 3).reshape(2, 3, 1).repeat(3, 2).astype(np.uint8)
    for a, b, c, d in EIGHT:
        shown = oriented(image, (a, b, c, d))
        corners = [(a * x + c * y, b * x + d * y) for x in range(3) for y in range(2)]
        left, top = (min(corner[axis] for corner in corners) for axis in (0, 1))
        for x in range(3):
            for y in range(2):
                np.testing.assert_array_equal(shown[b * x + d * y - top, a * x + c * y - left], image[y, x])


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((65536, 1200, -1200, 65536), (1, 0, 0, 1)),
        ((-3000, 65000, 65000, 3000), (0, 1, 1, 0)),
        ((0, 0, 0, 0), (1, 0, 0, 1)),
        ((-131072, 0, 0, 131072), (-1, 0, 0, 1)),
    ],
)
def test_other_matrices_count_as_the_nearest_orientation(
    matrix: tuple[int, ...], expected: tuple[int, int, int, int]
) -> None:
    assert nearest_orientation(np.array(matrix, np.int32)) == expected


@pytest.mark.parametrize(
    ("name", "codec"),
    [("v.mp4", "libx264"), ("v.mkv", "libx264"), ("v.webm", "libvpx-vp9"), ("v.webm", "libvpx"), ("v.avi", "mpeg4")],
)
def test_a_film_that_changes_its_size_keeps_the_size_of_each_frame(tmp_path: Path, name: str, codec: str) -> None:
    path = write_scenes(tmp_path / name, [SIZE, (96, 160), (64, 48)], codec=codec)
    expected = filtered(path, [])
    assert [expected[number].shape[:2] for number in (0, 8, 16)] == [(96, 160), (160, 96), (48, 64)]
    check_pictures(path, expected)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.mov"])
@pytest.mark.parametrize(("aspect", "width"), [(Fraction(64, 45), 228), (Fraction(8, 9), 142), (Fraction(2), 320)])
def test_anamorphic_pixels_become_square(tmp_path: Path, name: str, aspect: Fraction, width: int) -> None:
    path = write_scenes(tmp_path / name, frames=3, aspects=[aspect])
    expected = filtered(path, [f"scale={width}:96"])
    check_pictures(path, expected)
    # A scaled picture of the scene is the scene drawn at that size.
    assert np.abs(expected[0].astype(int) - scene(width, 96, 0)).mean() < 2


def test_the_pixel_aspect_ratio_may_change_within_a_film(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "v.mp4", [SIZE, SIZE], aspects=[Fraction(4, 3), Fraction(2)])
    # Only the codec knows of the change: an MP4 file has one value for its track.
    video = PyavVideo(path)
    widths = [image.shape[1] for _, image in video.decode(range(16))]
    assert widths == [213] * 8 + [320] * 8


@pytest.mark.parametrize(("aspect", "expected"), [(None, 160), (Fraction(0), 160), (Fraction(1001, 1000), 160)])
def test_an_unknown_or_nearly_square_pixel_changes_nothing(aspect: Fraction | None, expected: int) -> None:
    assert shown_width(160, aspect) == expected


def test_decord_reads_plain_films_only(tmp_path: Path, make_video: MakeVideo) -> None:
    pytest.importorskip("decord")
    assert isinstance(open_video(make_video(tmp_path / "v.mp4", frames=10)).reader, DecordVideo)
    assert isinstance(open_video(write_scenes(tmp_path / "u.mp4", gop=4, frames=40)).reader, PyavVideo)
    assert MAX_KEY_FRAMES < 10
