"""The command `foal code-hash`: writes what the DVC pipeline knows about the code."""

from pathlib import Path
from typing import Annotated

import typer

from .options import FORCE_OPTION


def code_hash(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="JSON file to write, one hash per stage")] = Path(
        "code.json"
    ),
    force: Annotated[bool, FORCE_OPTION] = False,
) -> None:
    """Hash the code behind each stage of dvc.yaml.

    A hash changes with the code of the stage's modules and of all that they import, not with comments and messages.
    """
    from ..code_hash import write_code_hashes

    write_code_hashes(out, force=force)
