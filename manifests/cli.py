"""The commands `foal synth`, `corpus` and `manifest`."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import setting, with_settings
from ..shared.config.settings import Settings


@with_settings(utterances=setting("synth.utterances", "--utterances", "-n"), seed="synth.seed")
def synth(
    *,
    settings: Settings,
    out: Annotated[Path, typer.Argument(help="Folder to write the corpus to; must be empty or not exist")],
) -> None:
    """Generate a small synthetic audio-visual corpus in IEMOCAP's directory layout.

    Needs no licence and no network. The same seed gives the same files.
    """
    from .run import draw

    draw(out, settings.synth)


@with_settings(kind="corpus.kind", root=setting("corpus.root", "--root", "-r"))
def corpus(
    *,
    settings: Settings,
    record: Annotated[Path, typer.Option("--record", help="JSON file that describes the corpus")] = Path("corpus.json"),
) -> None:
    """Prepare the corpus of params.yaml.

    Generates the synthetic corpus if it is missing. For a licensed corpus only checks that it exists.
    """
    from .run import provide

    provide(settings, record)


@with_settings(
    kind=setting("corpus.kind", argument=True, metavar="KIND"),
    root=setting("corpus.root", argument=True, metavar="ROOT"),
    out=setting("corpus.manifest", "--out", "-o"),
    classes=setting("corpus.classes", metavar="A,B,..."),
)
def manifest(
    *,
    settings: Settings,
    speaker: Annotated[
        str | None,
        typer.Option("--speaker", help="folder only: regular expression whose first group is the speaker"),
    ] = None,
) -> None:
    """Write the manifest of a corpus.

    A CSV file with one row per utterance: id, session, speaker, label, media files and times.
    """
    from .run import write

    write(settings.corpus, speaker=speaker)
