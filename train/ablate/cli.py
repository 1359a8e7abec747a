"""The command `foal ablate`: the study of Foal-Net's parts, or with --fusions the comparison of fusion systems."""

from pathlib import Path
from typing import Annotated

import typer

from ...shared.cli.options import FORCE_OPTION, JSON_OPTION, with_settings
from ...shared.config.settings import Settings
from ...shared.errors import UsageError
from ..options import CLUSTER, LABELS, NUM_SEEDS_OPTION, PROTOCOL, SEEDS, STREAMS, with_changes

DEFAULT_ABLATION_SEEDS = 3
ABLATION, FUSIONS = Path("runs/ablation"), Path("runs/fusions")
"""Default folders of the results."""


@with_settings(
    **STREAMS,
    **PROTOCOL,
    **LABELS,
    normalize="train.normalize",
    preset="train.preset",
    seeds=SEEDS,
    epochs="train.epochs",
    frame_rate="train.frame_rate",
    **CLUSTER,
)
def ablate(
    *,
    settings: Settings,
    given: frozenset[str],
    num_seeds: Annotated[int | None, NUM_SEEDS_OPTION] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder of the results; finished fits in it are reused "
            f"(default: {ABLATION}, with --fusions {FUSIONS})",
            show_default=False,
        ),
    ] = None,
    deviations: Annotated[
        bool,
        typer.Option("--deviations", help="Add one row per deviation of the reference code that changes the numbers"),
    ] = False,
    fusions: Annotated[
        str | None,
        typer.Option(
            "--fusions",
            metavar="all|A,B,...",
            help="Compare fusion systems instead: these, or all that the features allow, each alone, with AVEL, with "
            "MEM and with both",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            min=0,
            metavar="MINUTES",
            help="With --fusions: start no further row after this time; a later call continues",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, FORCE_OPTION] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Run the ablation study.

    Compares Foal-Net with its parts removed and with simpler systems: majority class, logistic regression, support
    vector machines, a multilayer perceptron, single modalities, late fusion, plain fusion. The first line compares it
    with the best of the baselines. The fits run side by side on Dask workers; finished fits are reused.

    With --fusions it compares fusion systems with concat and with logistic regression.
    """
    if fusions is None and budget is not None:
        raise UsageError("--budget: expected --fusions with it; add --fusions all, or leave --budget out")
    if fusions is not None and deviations:
        raise UsageError(
            "--deviations: expected no --fusions with it, since it adds rows to the study of Foal-Net; leave one of "
            "them out"
        )
    if num_seeds is None and "train.seeds" not in given:
        num_seeds = DEFAULT_ABLATION_SEEDS
    from ...shared.cli.console import get_console, print_json
    from ..report.progress import fits_progress

    settings = with_changes(settings, num_seeds=num_seeds)
    folder = out or (ABLATION if fusions is None else FUSIONS)
    console = get_console()
    if fusions is None:
        from ..report.ablation import ablation_table
        from .run import ablate as run

        with fits_progress() as progress:
            results = run(settings, settings.index, folder, deviations=deviations, force=force, progress=progress)
        console.print(ablation_table(results))
    else:
        from ..report.fusions.tables import fusions_table
        from .fusions import compare_fusions

        with fits_progress("fusion systems") as progress:
            results = compare_fusions(
                settings, settings.index, folder, fusions, budget_minutes=budget, force=force, progress=progress
            )
        console.print(fusions_table(results))
    console.print(f"results: {folder}")
    if as_json:
        print_json({"folder": str(folder), **results})
