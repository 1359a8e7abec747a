"""The folder that `foal predict --out` writes."""

from pathlib import Path

from ...shared.errors import FoalError, UsageError
from ...shared.text import shortened
from .prediction import ClipPredictions
from .tables import CSV, FAILURES, JSONL, write_tables

TIMELINE, SUBTITLES, VIDEO = ".timeline.png", ".vtt", ".annotated.mp4"
"""Ends of the names of the files of a clip."""


OURS = (JSONL, CSV, FAILURES, f"*{TIMELINE}", f"*{SUBTITLES}", f"*{VIDEO}")
"""What a prediction may have written; it is removed before the next one."""


def check_folder(out: Path, *, force: bool = False) -> None:
    """Raise UsageError if `out` is a file, or a folder with other files than those of a prediction."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: expected a folder, got a file; choose another folder with --out")
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if names and JSONL not in names and not force:
        raise UsageError(
            f"{out}: expected a new folder or one of an earlier prediction, got other files "
            f"({shortened(', '.join(sorted(names)), 200)}); choose another one, or write into it with --force"
        )


def write_outputs(out: Path, result: ClipPredictions, *, timeline: bool, vtt: bool, annotate: bool) -> list[Path]:
    """Write the tables and, for each file, the pictures that are asked for.

    Raises FoalError if the folder cannot be written. A picture that cannot be drawn is left out with a warning.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for pattern in OURS:
            for path in out.glob(pattern):
                path.unlink()
        written = write_tables(out, result)
        if timeline or vtt or annotate:
            from .clip_files import write_clip_files

            written += write_clip_files(out, result, timeline=timeline, vtt=vtt, annotate=annotate)
    except OSError as error:
        raise FoalError(f"{out}: cannot be written: {error.strerror or error}") from error
    return written
