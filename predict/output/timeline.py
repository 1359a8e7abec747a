"""The timeline of a clip: thumbnails of the face, the waveform, and below them the probabilities over time."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...extract.media.video import FULL, NoVideoTrackError, Segment, open_video
from ...extract.media.video_reader import Backend, DecodeFallbackError, RgbImage
from ...extract.media.waveform import NoAudioTrackError, Waveform
from ...shared.errors import MediaError
from ...shared.files.atomic import replaced_atomically
from ...shared.text import shortened
from ...shared.timing import Seconds
from .clip_files import FilePredictions
from .palette import INK, MUTED, class_colours
from .prediction import FaceTrace, Prediction
from .subtitles import joined, shown_spans

WIDTH_INCHES, DPI = 10.0, 130
THUMBNAILS = 12
THUMBNAIL_SIDE = 96
"""Pixels."""

FACE_MARGIN = 0.3
"""Added around the face, on each side, as a fraction of it."""

WAVE_BINS = 1200
MAX_PEOPLE = 6


def draw_timeline(path: Path, predicted: FilePredictions) -> Path:
    """Draw the timeline of a media file as PNG.

    Raises MediaError if the file can no longer be decoded.
    """
    start, end = predicted.span
    people = list(predicted.people().items())[:MAX_PEOPLE]
    pictures = [_thumbnails(predicted.path, start, end, _traces_of(predicted, ids)) for _, ids in people]
    wave = _envelope(predicted.path, start, end)
    heights = [0.9] * sum(images is not None for images in pictures) + [0.6] * (wave is not None)
    heights += [height for _ in people for height in (0.22, 1.6)]
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights) + 0.25 * len(heights) + 0.7), dpi=DPI)
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        height = figure.get_figheight()
        figure.subplots_adjust(left=0.085, right=0.985, top=1 - 0.42 / height, bottom=0.6 / height, hspace=0.18)
        panels = iter(grid)
        for (person, _), images in zip(people, pictures, strict=True):
            if images is not None:
                _draw_thumbnails(next(panels), images, start, end, person)
        if wave is not None:
            _draw_wave(next(panels), wave, start, end)
        for person, ids in people:
            parts = predicted.parts(ids)
            _draw_strip(next(panels), parts, predicted.classes, start, end)
            axes = next(panels)
            _draw_probabilities(axes, parts, predicted.classes, start, end, person)
        for axes in grid[:-1]:
            axes.tick_params(labelbottom=False)
        grid[-1].set_xlabel("seconds", color=INK, loc="left")
        grid[0].set_title(shortened(predicted.name, 90), loc="left", fontsize=11, color=INK)
        handles, labels = grid[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower right", ncols=min(8, len(labels)), frameon=False, fontsize=9)
        with replaced_atomically(path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI)
    return path


def _traces_of(predicted: FilePredictions, ids: Sequence[str]) -> list[FaceTrace]:
    return [trace for name, trace in predicted.traces if name in ids]


def _thumbnails(
    path: Path, start: Seconds, end: Seconds, traces: Sequence[FaceTrace], *, backend: Backend = "auto"
) -> list[RgbImage | None] | None:
    """Square pictures of the face, or of the middle of the picture, at even distances; None without video."""
    try:
        video = open_video(path, backend=backend)
    except (NoVideoTrackError, MediaError):
        return None
    images: list[RgbImage | None] = [None] * THUMBNAILS
    times = start + (np.arange(THUMBNAILS) + 0.5) * (end - start) / THUMBNAILS
    try:
        plan = video.plan(Segment(start=start, end=end, fps=THUMBNAILS / max(end - start, 1e-3)))
        for _, position, image in video.crops([plan[:THUMBNAILS]], [FULL]):
            box = next((box for trace in traces if (box := trace.box_at(times[position])) is not None), None)
            images[position] = square(image, box)
    except DecodeFallbackError:
        return _thumbnails(path, start, end, traces, backend="pyav")
    return images


def square(image: RgbImage, box: NDArray[np.float32] | None) -> RgbImage:
    """A square picture (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3) of a face, or of the middle of a picture without one.

    Args:
        image: the picture (h, w, 3).
        box: the face in fractions of the picture, (4,).
    """
    from PIL import Image

    height, width = image.shape[:2]
    if box is None:
        side, x, y = float(min(height, width)), width / 2, height / 2
    else:
        x0, y0, x1, y1 = (float(edge) for edge in box * np.array([width, height, width, height], np.float32))
        side = max(x1 - x0, y1 - y0) * (1 + 2 * FACE_MARGIN)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = x - side / 2, y - side / 2
    part = Image.fromarray(image).crop((round(left), round(top), round(left + side), round(top + side)))
    resized: RgbImage = np.asarray(part.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR))
    return resized


def _envelope(path: Path, start: Seconds, end: Seconds) -> NDArray[np.float32] | None:
    """Lowest and highest sample of short stretches, (2, bins), by full scale; None without sound."""
    with suppress(NoAudioTrackError, MediaError):
        wave = Waveform(path)
        first, last = round(start * wave.rate_hz), round(end * wave.rate_hz)
        samples = np.zeros(max(1, last - first), np.float32)
        found = wave.mono[first:last]
        samples[: len(found)] = found
        edges = np.linspace(0, len(samples), min(WAVE_BINS, len(samples)) + 1).astype(np.int64)[:-1]
        return np.stack([np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges)])
    return None


def _bare(axes: Axes, start: Seconds, end: Seconds) -> None:
    axes.set_xlim(start, max(end, start + 1e-3))
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    axes.spines[:].set_visible(False)


def _draw_thumbnails(axes: Axes, images: Sequence[RgbImage | None], start: Seconds, end: Seconds, person: str) -> None:
    _bare(axes, start, end)
    axes.set_ylim(0, 1)
    step = (end - start) / len(images)
    panel = axes.get_window_extent()
    # Squares in pixels, as high as the panel or as wide as their share of it.
    side = min(panel.height, panel.width / len(images))
    share, low = side * len(images) / panel.width, (1 - side / panel.height) / 2
    for number, image in enumerate(images):
        middle = start + (number + 0.5) * step
        if image is not None:
            extent = (middle - share * step / 2, middle + share * step / 2, low, 1 - low)
            axes.imshow(image, extent=extent, aspect="auto", interpolation="bilinear")
    axes.set_xlim(start, max(end, start + 1e-3))
    axes.set_ylabel(person, fontsize=9, color=INK)


def _draw_wave(axes: Axes, wave: NDArray[np.float32], start: Seconds, end: Seconds) -> None:
    _bare(axes, start, end)
    loudest = max(float(np.abs(wave).max()), 1e-3)
    axes.fill_between(np.linspace(start, end, wave.shape[1]), wave[0], wave[1], color=MUTED, lw=0)
    axes.set_ylim(-loudest, loudest)


def _draw_strip(axes: Axes, parts: Sequence[Prediction], classes: Sequence[str], start: Seconds, end: Seconds) -> None:
    """A strip in the colour of the predicted class, with its name where there is room."""
    _bare(axes, start, end)
    axes.set_ylim(0, 1)
    colours = class_colours(classes)
    room = (end - start) / WIDTH_INCHES * 0.1
    for first, last, label in joined([(first, last, row.label(classes)) for first, last, row in shown_spans(parts)]):
        axes.axvspan(first, last, color=colours[label], lw=0)
        if last - first > room * len(label):
            axes.text((first + last) / 2, 0.46, label, ha="center", va="center", fontsize=8, color="white")


def _draw_probabilities(
    axes: Axes, parts: Sequence[Prediction], classes: Sequence[str], start: Seconds, end: Seconds, person: str
) -> None:
    """A line per class and utterance: through the middles of windows, level over segments and whole clips."""
    utterances: dict[str, list[Prediction]] = {}
    for row in parts:
        utterances.setdefault(row.id, []).append(row)
    for number, (name, colour) in enumerate(class_colours(classes).items()):
        for order, rows in enumerate(utterances.values()):
            values = [row.probabilities[number] for row in rows]
            label = None if order else name
            if len(rows) > 1:
                times = [(row.start + row.end) / 2 for row in rows]
                axes.plot(times, values, "o-", color=colour, lw=1.6, ms=3, label=label)
            else:
                axes.plot([rows[0].start, rows[0].end], values * 2, color=colour, lw=2.4, label=label)
    axes.set_xlim(start, max(end, start + 1e-3))
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks([0, 0.5, 1], ["0", "50%", "100%"], fontsize=8, color=INK)
    axes.tick_params(axis="x", labelsize=8, labelcolor=INK)
    axes.grid(axis="y", color=MUTED, alpha=0.3, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylabel(f"{person}\nprobability" if person else "probability", fontsize=9, color=INK)
