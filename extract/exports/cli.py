"""The command `foal export-features`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ExportFormat(StrEnum):
    """How exported features are stored."""

    NPY = "npy"
    PARQUET = "parquet"
    DATASETS = "datasets"


def export_features(
    index: Annotated[Path, typer.Argument(metavar="FEATS", help="The feats.h5")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder; each stream gets a folder in it")],
    file_format: Annotated[
        ExportFormat, typer.Option("--format", help="npy: ID.npy per utterance; parquet; datasets: an Arrow file")
    ] = ExportFormat.NPY,
) -> None:
    """Write features as files that other tools read, the inverse of `foal import`.

    Frames without data, such as those without a face, are NaN.
    """
    from ...shared.cli.console import get_console
    from .export_features import export_features as run

    for folder in run(index, out, file_format=file_format.value):
        get_console().print(str(folder))
