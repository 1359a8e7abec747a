"""The command `foal report`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ...shared.cli.options import FORCE_OPTION, JSON_OPTION, with_settings
from ...shared.config.settings import Settings

DEFAULT_RUN = Path("runs/main")
PAGE_NAME = "report.html"
"""As in train/report/run_folder.py, whose import takes a second."""


@with_settings(features="index", root="corpus.root")
def report(
    *,
    settings: Settings,
    given: frozenset[str],
    target: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN|EVALUATION|ABLATION",
            help="Folder of a finished run, evaluation, ablation, comparison of fusions or tuning (default: "
            f"{DEFAULT_RUN})",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help=f"The page to write (default: {PAGE_NAME} in that folder)")
    ] = None,
    media: Annotated[
        Literal["embed", "link", "none"],
        typer.Option(
            "--media",
            help="Sound of the gallery: in the page (clips of up to 30 s, 4 MB together; others linked), or linked; "
            "both with pictures. none: neither, for corpora that may not be passed on",
        ),
    ] = "embed",
    mistakes: Annotated[
        int, typer.Option("--mistakes", min=0, max=200, metavar="N", help="Mistakes in the gallery")
    ] = 12,
    force: Annotated[bool, FORCE_OPTION] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Write the results of a run or study as one HTML page.

    Headline with interval and protocol, warnings, confusion, groups, reliability, curves, robustness, sortable tables,
    a gallery of the most confident mistakes, provenance. The page is one file and loads nothing.
    """
    from ...shared.cli.console import get_console, print_json
    from .sources import read_source

    # Read before torch is imported, which takes seconds.
    source = read_source(target or DEFAULT_RUN)
    from .page import check_report, write_report

    page = out or source.folder / PAGE_NAME
    check_report(page, force=force)
    size = write_report(page, source, settings, media=media, count=mistakes, required="index" in given, force=force)
    get_console().print(f"report: {page} ({size / 1000:,.0f} kB)")
    if as_json:
        print_json({"report": str(page), "bytes": size, "kind": source.kind})
