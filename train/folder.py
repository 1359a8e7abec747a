"""A folder of results that appears whole or not at all."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..shared.errors import FoalError, UsageError
from ..shared.files import TEMPORARY_PREFIX, temporary_is_stale, temporary_name

OLDER = "older-"
OUR_FILES = frozenset(
    {"metrics.json", "run.json", "predictions.csv", "history.csv", "confusion.png", "learning.png", "models"}
    | {".gitignore"}
)
"""What a run holds; .gitignore is DVC's."""


@contextmanager
def new_run(out: Path) -> Iterator[Path]:
    """Hand out a temporary folder beside `out`; when the block ends well it takes the place of `out`, else it goes.

    An older run of that name stays until then. Raises UsageError, before anything is computed, if `out` holds
    something else than a run; FoalError if it cannot be written.
    """
    out = out.resolve()  # a link stays a link, and "runs/.." gets a name to put beside
    if not _may_be_replaced(out):
        raise UsageError(f"{out}: expected a new folder or an older run to replace, got something else")
    temporary, older = temporary_name(out), temporary_name(out.with_name(f"{OLDER}{out.name}"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        temporary.mkdir()
        yield temporary
        if out.exists():
            out.rename(older)
        temporary.rename(out)
    except OSError as error:
        raise FoalError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        if older.exists() and not out.exists():
            older.rename(out)
        for leftover in (temporary, older):
            shutil.rmtree(leftover, ignore_errors=True)


def _may_be_replaced(out: Path) -> bool:
    """Whether there is nothing, an empty folder, or a run and nothing else: a slip must not cost anybody's files."""
    if not out.exists():
        return True
    if not out.is_dir():
        return False
    inside = {path.name for path in out.iterdir()}
    if inside - OUR_FILES or not inside - {".gitignore"}:
        return not inside - {".gitignore"}
    try:
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(metrics, dict) and {"protocol", "features", "folds"} <= metrics.keys()


def _sweep(out: Path) -> None:
    """Remove what killed processes left of runs of this name; an older run that one of them moved away comes back."""
    for leftover in sorted(out.parent.glob(f"{TEMPORARY_PREFIX}*")):
        name = leftover.name.split("~", 2)[-1]
        if name.removeprefix(OLDER) != out.name or not temporary_is_stale(leftover):
            continue
        if name != out.name and not out.exists():
            leftover.rename(out)
        else:
            shutil.rmtree(leftover)
