"""The command `foal init`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..cli.options import FORCE_OPTION
from .template import ROOTS

DEFAULT_FOLDER = Path()


class PresetName(StrEnum):
    """Machines that `foal init` has settings for."""

    laptop = "laptop"
    gpu = "gpu"
    slurm = "slurm"


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The project folder")] = DEFAULT_FOLDER,
    *,
    preset: Annotated[
        PresetName,
        typer.Option("--preset", metavar="laptop|gpu|slurm", help="Settings for this machine; slurm adds a job file"),
    ] = PresetName.laptop,
    corpus: Annotated[
        str, typer.Option("--corpus", metavar="KIND", help=f"Kind of the corpus: {', '.join(ROOTS)}")
    ] = "synthetic",
    force: Annotated[bool, FORCE_OPTION] = False,
) -> None:
    """Write params.yaml, dvc.yaml and .gitignore for a project folder of your own.

    `dvc repro` then runs the pipeline in it. DVC works with a git repository, and without one. Other files of the
    folder are kept; existing settings and pipelines are replaced only with --force.
    """
    from ..cli.console import get_console
    from ..errors import UsageError
    from .run import init_project, next_steps

    if corpus not in ROOTS:
        raise UsageError(f"--corpus: expected one of {', '.join(ROOTS)}, got {corpus}")
    console = get_console()
    for path in init_project(folder, preset.value, corpus, force=force):
        console.print(f"{path}: written")
    console.print("next:")
    for step in next_steps(folder, preset.value, corpus):
        console.print(f"  {step}")
