"""A folder of results that appears whole or not at all, and goes on where it was stopped."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...shared.errors import FoalError, UsageError
from ...shared.files.atomic import TEMPORARY_PREFIX, temporary_is_stale, temporary_name
from .files import write_json

OLDER = "older-"
FITS = "fits"
"""Results of single fits, while a run is unfinished."""
RUN = "run.json"
"""What a run is about; written first."""


@contextmanager
def new_run(out: Path, about: Mapping[str, Any], *, ours: frozenset[str], resume: bool = False) -> Iterator[Path]:
    """Hand out a hidden folder beside `out`; when the block ends well it takes the place of `out`.

    An older run of that name stays until then. What was finished in the folder when the block ended otherwise stays
    for `resume`, which wants the same `about` (written as run.json); without `resume` a new folder is begun. `ours`
    are the names of the files that a finished run may hold: `out` is replaced only if it holds no others.

    Raises UsageError, before anything is computed: `out` holds something else than a run, another process is at it, or
    the unfinished run has another configuration. FoalError if it cannot be written.
    """
    out = out.resolve()  # a link stays a link, and "runs/.." gets a name to put beside
    if not _may_be_replaced(out, ours):
        raise UsageError(f"{out}: expected a new folder or an older run to replace, got something else")
    unfinished = unfinished_run(out)
    older = temporary_name(out.with_name(f"{OLDER}{out.name}"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        unfinished.mkdir(exist_ok=True)
        with _locked(unfinished, out):
            if resume:
                check_same(unfinished / RUN, about, f"{out}: the unfinished run")
            else:
                _empty(unfinished)
            (unfinished / FITS).mkdir(exist_ok=True)
            write_json(unfinished / RUN, about)
            try:
                yield unfinished
            except BaseException:
                if not any((unfinished / FITS).iterdir()):
                    shutil.rmtree(unfinished, ignore_errors=True)
                raise
            shutil.rmtree(unfinished / FITS)
            if out.exists():
                out.rename(older)
            unfinished.rename(out)
    except OSError as error:
        raise FoalError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        if older.exists() and not out.exists():
            older.rename(out)
        shutil.rmtree(older, ignore_errors=True)


@contextmanager
def kept_folder(out: Path, ours: frozenset[str]) -> Iterator[Path]:
    """Hand out `out` itself, which nobody else works in meanwhile; what is in it stays.

    `ours` are the names that may be there. Raises UsageError for a folder of something else, FoalError if it cannot be
    written.
    """
    try:
        if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - ours):
            raise UsageError(f"{out}: expected a new folder or one of an earlier run, got something else")
        out.mkdir(parents=True, exist_ok=True)
        with _locked(out, out):
            yield out.absolute()  # workers may stand elsewhere
    except OSError as error:
        raise FoalError(f"{out}: cannot be written: {error.strerror or error}") from error


def unfinished_run(out: Path) -> Path:
    """Where a run works until it is finished."""
    if not out.name:
        raise UsageError(f"{out}: expected the name of a folder for the results")
    return out.with_name(f".{out.name}.unfinished")


def check_same(path: Path, about: Mapping[str, Any], what: str) -> None:
    """Compare a run.json, if there is one, with `about`. Raises UsageError that names what differs."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        before = {}
    was, now = _flat(before), _flat(json.loads(json.dumps(about)))
    if different := [key for key in sorted(was.keys() | now.keys()) if was.get(key) != now.get(key)]:
        key = different[0]
        said = key.replace("settings.", "train.", 1)  # as it is called in params.yaml
        others = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
        raise UsageError(
            f"{what} has another configuration: {said} was {was.get(key)!r}, now it is {now.get(key)!r}{others}; "
            "begin anew without --resume, or choose another folder with --out"
        )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else name)
    return flat


@contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UsageError(f"{out}: another process is at this run; wait for it, or choose another folder") from None
    try:
        yield
    finally:
        os.close(handle)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _may_be_replaced(out: Path, ours: frozenset[str]) -> bool:
    """Whether there is nothing, an empty folder, or a run and nothing else: a slip must not cost anybody's files."""
    if not out.exists():
        return True
    if not out.is_dir():
        return False
    inside = {path.name for path in out.iterdir()}
    if inside - ours or not inside - {".gitignore"}:
        return not inside - {".gitignore"}
    try:
        metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(metrics, dict) and {"protocol", "features", "seeds"} <= metrics.keys()


def _sweep(out: Path) -> None:
    """Remove what killed processes left of runs of this name; an older run that one of them moved away comes back."""
    for leftover in sorted(out.parent.glob(f"{TEMPORARY_PREFIX}*")):
        name = leftover.name.split("~", 2)[-1]
        if name != f"{OLDER}{out.name}" or not temporary_is_stale(leftover):
            continue
        if not out.exists():
            leftover.rename(out)
        else:
            shutil.rmtree(leftover)
