"""Folders of results: a run appears complete or not at all, can be resumed, and is not overwritten."""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...shared.cli.logs import log_file
from ...shared.errors import FoalError, UsageError
from ...shared.files.folders import publish_folder, remove_leftovers
from ...shared.files.lock import exclusive_lock
from .formatting import setting_text
from .results import write_json

log = logging.getLogger(__name__)

FITS = "fits"
"""Folder of the results of single fits while a run is unfinished."""
METADATA_FILE = "run.json"
"""Configuration of a run; written first."""
METRICS_FILE = "metrics.json"
LOG_FILE = "run.log"
UNFINISHED_SUFFIX = ".unfinished"
REPORT_FILE = "report.html"
"""The page of `foal report`; it may lie in the folder of any result."""
LEFT_BY_DVC = frozenset({".gitignore", LOG_FILE, REPORT_FILE})
"""Files that stay in a run's folder when DVC has removed its outputs."""


@contextmanager
def create_run_folder(
    out: Path, metadata: Mapping[str, Any], *, ours: frozenset[str], resume: bool = False, force: bool = False
) -> Iterator[Path]:
    """Yield a hidden folder next to `out`, which becomes `out` when the block ends without an error.

    It contains run.json with the metadata, run.log, and a folder `fits` for the results of single fits. If the block
    ends with an error, the folder stays, as soon as there are results of fits, and `resume` continues it.

    Args:
        out: folder of the run.
        metadata: configuration of the run; an interrupted run is continued only with the same one.
        ours: names of the files that a run may contain; a folder with other files is never replaced.
        resume: continue the interrupted run, if there is one.
        force: replace a finished run, and discard an interrupted one that is not continued.

    Raises:
        FoalError: a run exists already, finished or interrupted, or `out` cannot be written.
        UsageError: `out` contains other files, or another process is writing it, or the interrupted run has another
            configuration.
    """
    out = out.resolve()  # a link stays a link, and "runs/.." becomes a name
    work = unfinished_run(out)
    try:
        remove_leftovers(out)
        # If a finished run exists too, the interrupted one was started with --force; resuming does not need it again.
        _check_target(out, ours, force=force or (resume and work.exists()))
        out.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir(exist_ok=True)
        with exclusive_lock(work, _busy(out)):
            if not resume and not force:
                _check_interrupted(out, work)
            if resume and not (force and not has_same_config(work / METADATA_FILE, metadata)):
                require_same_config(work / METADATA_FILE, metadata, f"{out}: the interrupted run")
            else:
                _empty(work)
            (work / FITS).mkdir(exist_ok=True)
            write_json(work / METADATA_FILE, metadata)
            with _kept_if_interrupted(work), log_file(work / LOG_FILE):
                yield work
            shutil.rmtree(work / FITS)
            publish_folder(work, out)
    except OSError as error:
        raise FoalError(f"{out}: cannot be written: {error.strerror or error}") from error


@contextmanager
def reuse_run_folder(out: Path, ours: frozenset[str], *, force: bool = False) -> Iterator[Path]:
    """Create `out` or reuse it with its files, locked against other processes; yields its absolute path.

    Args:
        out: folder of the results.
        ours: names of the files that it may contain.
        force: write into a folder that contains other files, too; they are kept.

    Raises:
        UsageError: `out` is a file, contains other files, or another process is writing it.
        FoalError: `out` cannot be written.
    """
    try:
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out}: expected a folder, got a file; choose another folder with --out")
        foreign = _names_in(out) - ours
        if foreign and not force:
            raise UsageError(
                f"{out}: expected a new folder or one of an earlier run, got other files ({', '.join(sorted(foreign))})"
                "; choose another folder with --out, or keep them and write to this folder with --force"
            )
        out.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(out, _busy(out)):
            yield out.absolute()  # workers may have another working folder
    except OSError as error:
        raise FoalError(f"{out}: cannot be written: {error.strerror or error}") from error


def unfinished_run(out: Path) -> Path:
    """The hidden folder in which a run is written until it is finished."""
    if not out.name:
        raise UsageError(f"{out}: expected the name of a folder for the results")
    return out.with_name(f".{out.name}{UNFINISHED_SUFFIX}")


def is_finished(out: Path) -> bool:
    """Whether a folder contains a finished run."""
    return (out / METRICS_FILE).exists() and (out / METADATA_FILE).exists()


def has_same_config(path: Path, metadata: Mapping[str, Any]) -> bool:
    """Whether a run.json, if it exists, is equal to `metadata`."""
    return not _differences(path, metadata)


def require_same_config(path: Path, metadata: Mapping[str, Any], subject: str) -> None:
    """Raise UsageError that names the first difference between a run.json, if it exists, and `metadata`."""
    _require_none(_differences(path, metadata), subject)


def require_equal(stored: Any, metadata: Mapping[str, Any], subject: str) -> None:
    """Raise UsageError that names the first difference between stored metadata and `metadata`; both are JSON values."""
    _require_none(_differing(stored, metadata), subject)


def _require_none(differences: Mapping[str, tuple[Any, Any]], subject: str) -> None:
    """Raise UsageError that names the first of these differences, if there is one."""
    if differences:
        key, (before, now) = next(iter(differences.items()))
        name = key.replace("settings.", "train.", 1)  # as in params.yaml
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        raise UsageError(
            f"{subject} has another configuration: {name} was {setting_text(before)}, is now {setting_text(now)}{more}"
            "; discard it with --force, or choose another folder with --out"
        )


def _differences(path: Path, metadata: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values in a run.json differ from `metadata`, with both values; none if there is no file."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        stored = {}
    return _differing(stored, metadata)


def _differing(stored: Any, metadata: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ between stored metadata and `metadata`, with both values."""
    before, now = flat_values(stored), flat_values(json.loads(json.dumps(metadata)))
    keys = sorted(before.keys() | now.keys())
    return {key: (before.get(key), now.get(key)) for key in keys if before.get(key) != now.get(key)}


def flat_values(values: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    if not isinstance(values, dict):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flat_values(value, f"{prefix}.{name}" if prefix else name)
    return flat


def _check_target(out: Path, ours: frozenset[str], *, force: bool) -> None:
    """Raise unless `out` may become a run's folder."""
    if not out.exists():
        return
    names = _names_in(out)
    if not out.is_dir() or names - ours or (METRICS_FILE in names and not _has_metrics_of_a_run(out)):
        raise UsageError(
            f"{out}: expected a new folder or the folder of a run, got something else; choose another folder with --out"
        )
    if names - LEFT_BY_DVC and not force:
        if is_finished(out):
            raise FoalError(f"{out}: a finished run exists; show it with --resume, or replace it with --force")
        raise FoalError(f"{out}: files of a run exist; replace them with --force, or choose another folder with --out")


def _has_metrics_of_a_run(out: Path) -> bool:
    try:
        metrics = json.loads((out / METRICS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(metrics, dict) and {"protocol", "features", "seeds"} <= metrics.keys()


def _check_interrupted(out: Path, work: Path) -> None:
    """Raise if an interrupted run would be lost."""
    if (work / FITS).is_dir() and any((work / FITS).iterdir()):
        raise FoalError(
            f"{out}: an interrupted run exists; continue it with --resume, or discard it and start over with --force"
        )


@contextmanager
def _kept_if_interrupted(work: Path) -> Iterator[None]:
    """After an error, remove the folder unless it contains results of fits."""
    try:
        yield
    except BaseException:
        if any((work / FITS).iterdir()):
            log.info("the run is unfinished; rerun the same command with --resume to continue it")
        else:
            shutil.rmtree(work, ignore_errors=True)
        raise


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _busy(out: Path) -> str:
    return f"{out}: another process is writing this run; wait for it, or choose another folder with --out"


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
