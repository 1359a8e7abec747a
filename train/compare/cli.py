"""The commands `foal runs` and `foal compare`."""

from pathlib import Path
from typing import Annotated

import typer

from ...shared.cli.options import JSON_OPTION

DEFAULT_FOLDER = Path("runs")


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Folder to search, with all folders below it")
    ] = DEFAULT_FOLDER,
    *,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List the runs below a folder, newest first.

    Shows date, head, streams, protocol, utterances, UA (or CCC) with its interval, and the number of warnings.
    Unfinished and damaged runs are listed as such, with what to do.
    """
    from ...shared.cli.console import get_console, print_json
    from .run_list import list_runs, runs_table

    found = list_runs(folder)
    get_console().print(runs_table(found, folder))
    if as_json:
        print_json({"folder": str(folder), "runs": found})


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of two or more finished runs")],
    *,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show runs side by side: settings that differ, scores with intervals, and paired tests.

    Each run is tested against the first one, paired by speaker, if both have the same folds and utterances; otherwise
    the reason is given. Several p values are corrected with Holm's method. Runs over different utterances of one
    system are pooled by `foal results RUN RUN`.
    """
    from ...shared.cli.console import get_console, print_json
    from .side_by_side import compare_runs, comparison_table

    comparison = compare_runs(runs)
    get_console().print(comparison_table(comparison))
    if as_json:
        print_json(comparison)
