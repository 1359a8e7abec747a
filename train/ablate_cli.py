"""`foal ablate`."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import PARAMS_OPTION, SET_OPTION, comma_list, option, settings_from
from ..shared.errors import UsageError


def ablate(
    features: Annotated[Path | None, option("index", "--features", "-f")] = None,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N|A,B,...", help="How many seeds (0 to N - 1), or which, with commas")
    ] = "3",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the table; fits that are in it are kept")] = Path(
        "runs/ablation"
    ),
    faults: Annotated[
        bool, typer.Option("--faults", help="A row more for every fault of the authors' code that changes the numbers")
    ] = False,
    workers: Annotated[int | None, option("extract.workers", "--workers", "-j")] = None,
    scheduler: Annotated[str | None, option("extract.scheduler", "--scheduler")] = None,
    protocol: Annotated[str | None, option("train.protocol", "--protocol", metavar="NAME")] = None,
    audio: Annotated[str | None, option("train.audio", "--audio", metavar="NAME")] = None,
    face: Annotated[str | None, option("train.face", "--face", metavar="NAME")] = None,
    preset: Annotated[str | None, option("train.preset", "--preset")] = None,
    epochs: Annotated[int | None, option("train.epochs", "--epochs")] = None,
    pool_hz: Annotated[float | None, option("train.pool_hz", "--pool-hz")] = None,
    device: Annotated[str | None, option("train.device", "--device")] = None,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """Compare Foal-Net with its parts taken away.

    And with what is simpler: majority, logistic regression, one modality, late fusion, plain fusion, with alignment,
    with matching, with both. Every fold and seed of each, side by side on Dask workers; what is done is not done again.
    """
    settings = settings_from(
        params, assign, index=features, train__seeds=_seeds(seeds), extract__workers=workers,
        extract__scheduler=scheduler, train__protocol=protocol, train__audio=audio, train__face=face,
        train__preset=preset, train__epochs=epochs, train__pool_hz=pool_hz, train__device=device,
    )  # fmt: skip
    from ..shared.cli.console import make_console
    from .ablate.run import ablate as run
    from .report.ablation import table_of
    from .report.progress import fits_shown

    console = make_console()
    with fits_shown(console) as progress:
        ablation = run(settings, settings.index, out, faults=faults, progress=progress)
    console.print(table_of(ablation))
    console.print(f"results: {out}")


def _seeds(text: str) -> list[int] | list[str]:
    """`5` as five seeds, `3,5` as these two."""
    if "," in text:
        return comma_list(text) or []
    if not text.strip().isdecimal() or int(text) < 1:
        raise UsageError(f"--seeds: expected how many seeds, or which with commas, got {text!r}")
    return list(range(int(text)))
