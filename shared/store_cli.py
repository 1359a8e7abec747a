"""`foal verify`: checks what lies on the disk."""

from pathlib import Path
from typing import Annotated

import typer

from .options import PARAMS_OPTION, option, settings_from


def verify(
    target: Annotated[
        Path | None, typer.Argument(help="A feats.h5, a shard, or a folder of shards [default: both of params.yaml]")
    ] = None,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    features: Annotated[Path | None, option("extract.features", "--features")] = None,
) -> None:
    """Check shards and index, byte by byte.

    Checksums, shapes, NaN, missing and foreign files; exit code 1, with the names, if anything is wrong.
    """
    from .verify import verify_target

    settings = settings_from(params, None, extract__features=features)
    targets = [target] if target is not None else [settings.extract.features]
    if target is None and features is None and settings.index.exists():
        targets.append(settings.index)
    checked, problems = 0, list[tuple[Path, str]]()
    for place in targets:
        count, found = verify_target(place)
        checked, problems = checked + count, problems + found
    for path, reason in dict.fromkeys(problems):
        typer.echo(f"{path}: {reason}")
    if problems:
        typer.echo(f"{len(dict.fromkeys(problems))} problems; `foal extract` restores what is missing or damaged")
        raise typer.Exit(1)
    typer.echo(f"{checked} files in order")
