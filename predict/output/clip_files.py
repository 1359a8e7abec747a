"""The files of `foal predict` that belong to one media file each: timeline, subtitles, annotated video."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...extract.media.media_group import as_media_error
from ...shared.cli.progress import progress_display
from ...shared.text import shortened
from ...shared.timing import Seconds
from ..sources import face_of
from .folder import SUBTITLES, TIMELINE, VIDEO
from .prediction import ClipPredictions, FaceTrace, Prediction

MAX_NAME = 100
"""Characters of a file's name before the suffix."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FilePredictions:
    """The predictions of one media file.

    Attributes:
        name: its name in the output.
        path: the file.
        classes: class names.
        rows: predictions of its utterances, windows after the utterance that they belong to.
        traces: the faces of its utterances, by id.
    """

    name: str
    path: Path
    classes: tuple[str, ...]
    rows: tuple[Prediction, ...]
    traces: tuple[tuple[str, FaceTrace], ...]

    @property
    def span(self) -> tuple[Seconds, Seconds]:
        """First start and last end of its rows, in seconds."""
        return min(row.start for row in self.rows), max(row.end for row in self.rows)

    def parts(self, utterance_ids: Sequence[str]) -> list[Prediction]:
        """What shows the course of some utterances: the windows of each, or itself where it has none."""
        found = []
        for name in utterance_ids:
            windows = [row for row in self.rows if row.id == name and row.part == "window"]
            found += windows or [row for row in self.rows if row.id == name]
        return sorted(found, key=lambda row: row.start)

    def people(self) -> dict[str, list[str]]:
        """The ids of the utterances by person: those of a face together, all others together."""
        people: dict[str, list[str]] = {}
        for row in self.rows:
            if row.part == "clip":
                people.setdefault(face_of(row.id), []).append(row.id)
        return people


def by_file(result: ClipPredictions) -> list[FilePredictions]:
    """The predictions of each media file; utterances without one are left out."""
    files: dict[str, list[Prediction]] = {}
    for row in result.predictions:
        if row.media:
            files.setdefault(row.media, []).append(row)
    return [
        FilePredictions(
            name=rows[0].name.partition("#")[0] if len({row.id for row in rows}) > 1 else rows[0].name,
            path=Path(media),
            classes=result.classes,
            rows=tuple(rows),
            traces=tuple(
                (row.id, result.traces[row.id]) for row in rows if row.part == "clip" and row.id in result.traces
            ),
        )
        for media, rows in files.items()
    ]


def write_clip_files(out: Path, result: ClipPredictions, *, timeline: bool, vtt: bool, annotate: bool) -> list[Path]:
    """Write the chosen files of each media file; one that cannot be drawn is left out with a warning."""
    written: list[Path] = []
    files = by_file(result) if result.classes else []
    if not files:
        log.warning("no timelines, subtitles or videos: they show classes of media files, and there are none")
    names = file_names([predicted.name for predicted in files])
    with progress_display("pictures", total=len(files), unit="clips") as display:
        for predicted, name in zip(files, names, strict=True):
            try:
                if timeline:
                    from .timeline import draw_timeline

                    written.append(draw_timeline(out / f"{name}{TIMELINE}", predicted))
                if vtt:
                    from .subtitles import write_subtitles

                    written.append(write_subtitles(out / f"{name}{SUBTITLES}", predicted))
                if annotate:
                    from .annotated_video import annotate_video

                    written.append(annotate_video(out / f"{name}{VIDEO}", predicted))
            except Exception as error:
                problem = as_media_error(error)
                log.warning(f"{predicted.name}: no picture or video of the predictions: {problem}")
            display.advance()
    return written


def file_names(names: Sequence[str]) -> list[str]:
    """A different file name for each name: folders are joined by "_", and long names are shortened."""
    result: list[str] = []
    for name in names:
        plain = shortened("_".join(part for part in Path(name).parts if part not in ("/", "..")), MAX_NAME) or "clip"
        unique, number = plain, 1
        while unique in result:
            number += 1
            unique = f"{plain}-{number}"
        result.append(unique)
    return result
