"""A folder of results that appears whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..shared.errors import FoalError, UsageError
from ..shared.files import TEMPORARY_PREFIX


@contextmanager
def new_run(out: Path) -> Iterator[Path]:
    """Hand out a temporary folder beside `out`; when the block ends well it takes the place of `out`, else it goes.

    An older run of that name stays until then. Raises UsageError, before anything is computed, if `out` holds
    something else than a run; FoalError if it cannot be written.
    """
    out = Path(os.path.abspath(out))  # "runs/.." would have no name to put beside
    if not _may_be_replaced(out):
        raise UsageError(f"{out}: expected a new folder or an older run to replace, got something else")
    temporary = out.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{out.name}")
    older = out.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}.old-{out.name}")
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
    """Whether there is nothing, an empty folder, or a run: a slip in `--out` must not cost anybody's files."""
    if not out.exists():
        return True
    if not out.is_dir():
        return False
    try:
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return not any(out.iterdir())
    return isinstance(metrics, dict) and {"protocol", "features", "folds"} <= metrics.keys()


def _sweep(out: Path) -> None:
    """Remove what killed processes left of runs of this name; an older run that one of them moved away comes back."""
    for leftover in sorted(out.parent.iterdir()):
        owner, _, name = leftover.name.removeprefix(TEMPORARY_PREFIX).partition("-")
        pid = owner.removesuffix(".old")
        if not leftover.name.startswith(TEMPORARY_PREFIX) or name != out.name or not pid.isdigit():
            continue
        if _is_running(int(pid)):
            continue
        if owner != pid and not out.exists():
            leftover.rename(out)
        else:
            shutil.rmtree(leftover)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
