"""The command `foal export`."""

from pathlib import Path
from typing import Annotated

import typer

from ...shared.errors import UsageError


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run, or of one under its models/")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the model")],
    final: Annotated[
        bool, typer.Option("--final", help="Export the networks of `foal train --final` instead of those of the folds")
    ] = False,
    fold: Annotated[int | None, typer.Option("--fold", metavar="N", help="Only the networks of this fold")] = None,
    license_id: Annotated[
        str, typer.Option("--license", metavar="ID", help="Licence of the weights, as named on the Hugging Face hub")
    ] = "unknown",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in that folder")] = False,
) -> None:
    """Write a trained model as a folder by the conventions of the Hugging Face hub.

    The folder has weights, configuration, preprocessing and a model card; its use needs no training data.
    """
    if final and fold is not None:
        raise UsageError("export: expected --final or --fold, got both; leave one out")
    from ...shared.cli.console import get_console
    from ..trained import load_trained
    from .folder import check_target, export_model

    check_target(out, force=force)
    model = load_trained(run, fold=fold, final=final)
    export_model(model, out, license_id=license_id, force=force)
    count = len(model.networks)
    get_console().print(f"{out}: {count} network{'' if count == 1 else 's'} of {model.name}")
