"""Checks of the machine: processors, memory, limits, disk, the features folder, and the caches of models."""

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.filesize import decimal

from ...shared.errors import FoalError
from ...shared.files.atomic import replaced_atomically
from ...shared.parallel.resources import available_cores
from .finding import Finding, failure, ok, warning

GIGABYTE = 10**9
LOW_MEMORY, LOW_DISK, NO_DISK = 4 * GIGABYTE, 5 * GIGABYTE, 100 * 10**6
"""Bytes: two workers with base-size encoders; features of ten hours of audio and faces; a small corpus."""
MIN_OPEN_FILES = 1024
HUB_TIMEOUT_SECONDS = 5.0
PROBE_NAME = ".foal-doctor"


def check_machine(features: Path, *, hub: bool) -> Iterator[Finding]:
    """Cores, memory, open files, disk, the features folder, and cached models.

    Args:
        features: the features folder; it need not exist.
        hub: ask the hub whether it can be reached.
    """
    yield _cores()
    yield check_memory(_memory_limit())
    yield check_open_files(resource.getrlimit(resource.RLIMIT_NOFILE))
    folder = existing_parent(features)
    yield check_disk(features, shutil.disk_usage(folder).free)
    yield check_writing(folder)
    yield from _hub(ask=hub)


def _cores() -> Finding:
    usable, present = available_cores(), os.cpu_count() or 1
    if usable < present:
        return ok("processors", f"{usable} of {present} cores may be used (affinity, or quota of the container)")
    return ok("processors", f"{usable} cores")


def _memory_limit() -> int:
    """Bytes that this process may use: of the machine, the container and the process limits, the smallest."""
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT)


def check_memory(limit: int) -> Finding:
    """Check the bytes of memory that may be used."""
    if limit < LOW_MEMORY:
        return warning(
            "memory",
            f"{decimal(limit)} may be used",
            "a worker needs about 2 GB with base-size encoders: use --workers 1, and train with --on-disk",
        )
    return ok("memory", f"{decimal(limit)} may be used")


def check_open_files(limits: tuple[int, int]) -> Finding:
    """Check the soft and the hard limit of open files."""
    soft, hard = (float("inf") if limit == resource.RLIM_INFINITY else limit for limit in limits)
    text = f"{soft:g} open files per process (at most {hard:g})"
    if hard < MIN_OPEN_FILES:
        return warning("file limit", text, "raise it: many shards and workers need more (ulimit -n, limits.conf)")
    return ok("file limit", text)


def check_disk(features: Path, free: int) -> Finding:
    """Check the free bytes of the file system of the features folder."""
    text = f"{decimal(free)} free for {features}"
    if free < NO_DISK:
        return failure("disk", text, "free some space, or choose another folder (key extract.features_dir)")
    if free < LOW_DISK:
        return warning("disk", text, "`foal extract --dry-run` shows what a corpus needs")
    return ok("disk", text)


def existing_parent(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder


def check_writing(folder: Path) -> Finding:
    """Write, flush, rename, read and remove a small file in a folder."""
    path = folder / f"{PROBE_NAME}-{os.getpid()}"
    try:
        with replaced_atomically(path) as temporary:
            temporary.write_bytes(b"foal")
        if path.read_bytes() != b"foal":
            raise FoalError(f"{path}: read back other bytes than written")
        path.unlink()
    except (FoalError, OSError) as error:
        return failure("write test", str(error), "choose a folder that you may write to (key extract.features_dir)")
    return ok("write test", f"wrote, renamed and removed a file in {folder}")


def _hub(*, ask: bool) -> Iterator[Finding]:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    models = sorted(path.name.removeprefix("models--").replace("--", "/") for path in cache.glob("models--*"))
    listed = f": {', '.join(models[:5])}{', ...' if len(models) > 5 else ''}" if models else ""
    yield ok("model cache", f"{len(models)} models of the hub in {cache}{listed}")
    if ask:
        yield check_hub(constants.ENDPOINT, offline=constants.HF_HUB_OFFLINE)


def check_hub(endpoint: str, *, offline: bool, timeout: float = HUB_TIMEOUT_SECONDS) -> Finding:
    """Ask the hub for an answer, for at most `timeout` seconds; what is cached works without it."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    remedy = "cached models and local folders work without it; docs/encoders.md describes how to bring weights along"
    if offline:
        return warning("hub", "HF_HUB_OFFLINE is set: nothing is downloaded", remedy)
    try:
        with urlopen(Request(endpoint, method="HEAD"), timeout=timeout):
            return ok("hub", f"{endpoint} answers")
    except HTTPError:
        return ok("hub", f"{endpoint} answers")  # whatever it thinks of the request
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return warning("hub", f"{endpoint} cannot be reached ({reason})", remedy)
