"""`foal verify`: checks what lies on the disk."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config.settings import Settings
from .options import with_settings

if TYPE_CHECKING:
    from ..hdf5.seal import BytesRead


@with_settings(features_dir="extract.features_dir")
def verify(
    *,
    settings: Settings,
    given: frozenset[str],
    target: Annotated[
        Path | None,
        typer.Argument(
            help="A feats.h5, a shard, or a folder of shards (default: both of params.yaml)", show_default=False
        ),
    ] = None,
) -> None:
    """Verify shards and index byte by byte.

    Checks seals, checksums, shapes and NaN, and lists missing and foreign files. Exit code 1 if anything is wrong.
    """
    from rich.filesize import decimal

    from ..store.verify import collect_files, verify_files
    from ..text import escape_control_characters

    targets = [target] if target is not None else [settings.extract.features_dir]
    if target is None and not given and settings.index.exists():
        targets.append(settings.index)
    began = time.monotonic()
    jobs = collect_files(targets)
    size = sum(job.size for job in jobs)
    with _progress(size) as on_bytes:
        problems = verify_files(jobs, on_bytes)
    for path, reason in problems:
        typer.echo(escape_control_characters(f"{path}: {reason}"))
    if problems:
        typer.echo(f"{len(problems)} problems; `foal extract` restores what is missing or damaged")
        raise typer.Exit(1)
    per_second = decimal(round(size / max(1e-3, time.monotonic() - began)))
    typer.echo(f"{len(jobs)} files in order, {decimal(size)} at {per_second}/s")


@contextmanager
def _progress(size: int) -> "Iterator[BytesRead]":
    """Something to call with the number of bytes that were read; a bar on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from .console import get_console

    console = get_console()
    if not console.is_terminal:
        yield lambda count: None
        return
    columns = (TextColumn("checking"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task, lock = progress.add_task("", total=size), threading.Lock()

        def on_bytes(count: int) -> None:
            with lock:
                progress.update(task, advance=count)

        yield on_bytes
