"""`foal inspect`: in this room because a contact sheet decodes videos and cuts faces out as extraction does."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import PARAMS_OPTION, option, settings_from


def inspect(
    index: Annotated[Path | None, typer.Argument(help="The feats.h5 [default: the one of params.yaml]")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the quality of each utterance as a table")] = None,
    contact_sheet: Annotated[
        Path | None,
        typer.Option("--contact-sheet", metavar="FILE.png", help="Draw what was cropped and which face was found"),
    ] = None,
    per_speaker: Annotated[
        int, typer.Option("--per-speaker", min=1, max=100, help="Contact sheet: utterances of each speaker")
    ] = 2,
    speakers: Annotated[
        int, typer.Option("--speakers", min=0, help="Contact sheet: most speakers, spread over all (0 = all that fit)")
    ] = 24,
    stream: Annotated[
        str | None,
        typer.Option("--stream", help="Contact sheet: whose pictures, such as face/clip [default: the first]"),
    ] = None,
    root: Annotated[Path | None, option("corpus.root", "--root", "-r")] = None,
    allow_outside: Annotated[bool | None, option("corpus.allow_outside", "--allow-outside/--no-allow-outside")] = None,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
) -> None:
    """Show what a feats.h5 holds.

    Utterances, classes by session, frames, widths, quality, and how the features were made; --csv gives the quality by
    utterance, --contact-sheet the pictures to check by eye.
    """
    from ..shared.cli.console import make_console
    from .inspect.tables import check_table, describe, write_table

    console = make_console()
    settings = settings_from(params, None, corpus__root=root, corpus__allow_outside=allow_outside)
    place = index or settings.index
    if csv is not None:
        check_table(csv)
    if contact_sheet is not None:
        # Before torch and the decoders are loaded, which takes seconds.
        from .inspect.sheet_layout import check_sheet

        check_sheet(contact_sheet)
    for part in describe(place):
        console.print(part)
    if csv is not None:
        console.print(write_table(csv, place))
    if contact_sheet is not None:
        from .inspect.contact_sheet import make_sheet

        console.print(
            make_sheet(
                contact_sheet, place, root=settings.corpus.root, stream=stream, per_speaker=per_speaker,
                speakers=speakers, console=console, allow_outside=settings.corpus.allow_outside,
            )
        )  # fmt: skip
