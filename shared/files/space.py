"""Whether the disk has room for what a run will write."""

import shutil
from pathlib import Path

from rich.filesize import decimal

from ..errors import FoalError

SPARE = 16 << 20
"""Bytes beyond the features: tables, temporary files, the index."""


def check_space(features: Path, needed: float) -> None:
    """Raise FoalError if the file system of the features folder has fewer than `needed` bytes (and some) left."""
    folder = features.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise FoalError(
            f"{features}: expected room for {decimal(round(needed) + SPARE)} of features, got {decimal(free)} free; "
            "make room, put --features elsewhere or extract fewer splits (`--dry-run` shows the sizes)"
        )
