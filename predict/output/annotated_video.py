"""A copy of a video with the predictions drawn into it: the class, its probability and the box of the face."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...extract.media.video import FULL, NoVideoTrackError, Video, open_video
from ...extract.media.video_reader import Backend, DecodeFallbackError, RgbImage
from ...extract.media.waveform import NoAudioTrackError, Waveform
from ...shared.errors import MediaError
from ...shared.files.atomic import replaced_atomically
from ...shared.timing import SAMPLE_RATE, Seconds
from .clip_files import FilePredictions
from .palette import class_colours
from .prediction import FaceTrace, Prediction
from .subtitles import shown_spans

MAX_SIDE = 1280
"""Pixels; larger pictures are scaled down."""

MAX_FPS = 60.0
CLOCK = Fraction(1, 90_000)

Shown = list[tuple[Seconds, Seconds, Prediction]]


def annotate_video(path: Path, predicted: FilePredictions) -> Path:
    """Write an .mp4 (H.264, AAC) with the predictions; the pictures and the sound of the file are kept.

    Raises MediaError if the file has no video, or can no longer be decoded.
    """
    with replaced_atomically(path) as temporary:
        try:
            _write(temporary, predicted, backend="auto")
        except DecodeFallbackError:
            _write(temporary, predicted, backend="pyav")
        except NoVideoTrackError:
            raise MediaError("it has no video track to draw into") from None
    return path


def _write(path: Path, predicted: FilePredictions, *, backend: Backend) -> None:
    video = open_video(predicted.path, backend=backend)
    painter = _Painter(predicted)
    with av.open(str(path), "w", format="mp4") as container:
        stream: av.VideoStream | None = None
        sound = _add_sound(container, predicted.path)
        for seconds, image in _pictures(video):
            drawn = painter.draw(image, seconds)
            if stream is None:
                stream = container.add_stream("libx264", rate=round(_rate(video)) or 1)
                stream.width, stream.height, stream.pix_fmt = drawn.shape[1], drawn.shape[0], "yuv420p"
                stream.codec_context.time_base = CLOCK
                stream.options = {"preset": "veryfast", "crf": "23"}
            frame = av.VideoFrame.from_ndarray(drawn, format="rgb24")
            frame.pts, frame.time_base = round(seconds / CLOCK), CLOCK
            container.mux(stream.encode(frame))
        if stream is None:
            raise MediaError("no picture could be decoded")
        container.mux(stream.encode())
        if sound is not None:
            _encode_sound(container, sound, predicted.path)


def _rate(video: Video) -> float:
    return min(MAX_FPS, len(video.shown_at) / max(video.seconds - float(video.shown_at[0]), 1e-3))


def _pictures(video: Video) -> Iterator[tuple[Seconds, RgbImage]]:
    """Every picture with its time; of more than MAX_FPS per second, as many as that."""
    wanted = np.arange(len(video.shown_at))
    if len(wanted) > 1:
        slots = np.floor(video.shown_at * MAX_FPS + 1e-6)
        wanted = np.flatnonzero(np.diff(slots, prepend=slots[0] - 1) > 0)
    for _, position, image in video.crops([wanted], [FULL]):
        yield float(video.shown_at[wanted[position]]), image


class _Painter:
    """Draws labels and boxes into the pictures of one file."""

    def __init__(self, predicted: FilePredictions) -> None:
        self._classes = predicted.classes
        self._colours = class_colours(predicted.classes)
        traces = dict(predicted.traces)
        self._people: list[tuple[str, Shown, list[FaceTrace]]] = [
            (person, shown_spans(predicted.parts(ids)), [traces[name] for name in ids if name in traces])
            for person, ids in predicted.people().items()
        ]

    def draw(self, image: RgbImage, seconds: Seconds) -> RgbImage:
        """The picture (h, w, 3) at a time, scaled to even sides, with what is shown then."""
        picture = _scaled(Image.fromarray(image))
        draw = ImageDraw.Draw(picture)
        size = max(12, picture.height // 22)
        font = ImageFont.load_default(size)
        line = 0
        for person, shown, traces in self._people:
            row = next((row for start, end, row in shown if start <= seconds < end), None)
            if row is None:
                continue
            label = row.label(self._classes)
            colour = self._colours[label]
            text = f"{person + ': ' if person else ''}{label} {row.probability():.0%}"
            box = next((box for trace in traces if (box := trace.box_at(seconds)) is not None), None)
            if box is not None:
                sides = np.array([picture.width, picture.height] * 2)
                draw.rectangle(tuple(float(edge) for edge in box * sides), outline=colour, width=max(2, size // 8))
            top = picture.height - (len(self._people) - line) * (size + 10)
            width = draw.textlength(text, font=font)
            draw.rectangle((0, top, width + 16, top + size + 10), fill=colour)
            draw.text((8, top + 3), text, fill="white", font=font)
            line += 1
        return np.asarray(picture)


def _scaled(picture: Image.Image) -> Image.Image:
    """At most MAX_SIDE pixels wide and high, with even sides, as H.264 wants them."""
    factor = min(1.0, MAX_SIDE / max(picture.size))
    width, height = (max(2, round(side * factor) // 2 * 2) for side in picture.size)
    return picture.copy() if (width, height) == picture.size else picture.resize((width, height))


def _add_sound(container: "av.container.OutputContainer", path: Path) -> "av.AudioStream | None":
    """An audio stream for the sound of a file; None if it has none."""
    try:
        Waveform(path)
    except (NoAudioTrackError, MediaError):
        return None
    stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
    assert isinstance(stream, av.AudioStream)
    return stream


def _encode_sound(container: "av.container.OutputContainer", stream: "av.AudioStream", path: Path) -> None:
    """Encode the mean of the channels, at 16 kHz as the encoders read it."""
    wave = Waveform(path).cut(None, None)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = SAMPLE_RATE, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
