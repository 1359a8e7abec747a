"""The command `foal verify`: checks shards and indexes on the disk."""

import time
from pathlib import Path
from typing import Annotated

import typer

from ..config.settings import Settings
from ..text import counted
from .options import JSON_OPTION, with_settings


@with_settings(features_dir="extract.features_dir")
def verify(
    *,
    settings: Settings,
    given: frozenset[str],
    target: Annotated[
        Path | None,
        typer.Argument(
            help="A feats.h5, a shard, or a folder of shards (default: features folder and index of params.yaml)",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Verify shards and index byte by byte.

    Checks checksums, shapes and NaN, and lists missing files and files that foal did not write.
    Exit code 1 if there are problems.
    """
    from rich.filesize import decimal

    from ..store.verify import collect_files, verify_files
    from .console import get_console, print_json
    from .progress import progress_display

    targets = [target] if target is not None else [settings.extract.features_dir]
    if target is None and not given and settings.index.exists():
        targets.append(settings.index)
    console = get_console()
    began = time.monotonic()
    checks = collect_files(targets)
    size = sum(check.size for check in checks)
    with progress_display("checking", total=size, in_bytes=True, line_seconds=None) as display:
        problems = verify_files(checks, display.advance)
    for path, reason in problems:
        console.print(f"{path}: {reason}")
    if problems:
        console.print(f"{counted(len(problems), 'problem')}; `foal extract` recomputes missing and damaged shards")
    else:
        per_second = decimal(round(size / max(1e-3, time.monotonic() - began)))
        console.print(f"{counted(len(checks), 'file')} intact, {decimal(size)} at {per_second}/s")
    if as_json:
        print_json(
            {
                "files": len(checks),
                "bytes": size,
                "problems": [{"path": str(path), "reason": reason} for path, reason in problems],
            }
        )
    if problems:
        raise typer.Exit(1)
