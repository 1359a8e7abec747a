"""The commands `foal synth`, `foal corpus` and `foal manifest`."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import FORCE_OPTION, setting, with_settings
from ..shared.config.settings import Settings


@with_settings(utterances=setting("synth.utterances", "--utterances", "-n"), seed="synth.seed")
def synth(
    *,
    settings: Settings,
    out: Annotated[Path, typer.Argument(help="Folder to write the corpus to")],
    force: Annotated[bool, FORCE_OPTION] = False,
) -> None:
    """Generate a small synthetic audio-visual corpus in IEMOCAP's directory layout.

    Needs no licence and no network. The same seed gives the same files.
    """
    from .run import generate_corpus

    generate_corpus(out, settings.synth, force=force)


@with_settings(kind="corpus.kind", root=setting("corpus.root", "--root", "-r"))
def corpus(
    *,
    settings: Settings,
    record: Annotated[
        Path, typer.Option("--record", help="JSON file to write with a description of the corpus")
    ] = Path("corpus.json"),
    force: Annotated[bool, FORCE_OPTION] = False,
) -> None:
    """Prepare the corpus of params.yaml.

    Generates the synthetic corpus if it is missing. For a licensed corpus only checks that it exists.
    """
    from .run import prepare_corpus

    prepare_corpus(settings, record, force=force)


@with_settings(
    kind=setting("corpus.kind", argument=True, metavar="KIND"),
    root=setting("corpus.root", argument=True, metavar="ROOT"),
    out=setting("corpus.manifest", "--out", "-o"),
    classes=setting("corpus.classes", metavar="A,B,..."),
    context="corpus.context",
    labels="corpus.labels",
    columns=setting("corpus.columns", metavar="A=B,..."),
    normalize_labels="corpus.normalize_labels",
)
def manifest(
    *,
    settings: Settings,
    given: frozenset[str],
    speaker: Annotated[
        str | None,
        typer.Option(
            "--speaker", metavar="REGEX", help="KIND folder: the first group of this expression is the speaker"
        ),
    ] = None,
    force: Annotated[bool, FORCE_OPTION] = False,
) -> None:
    """Write the manifest of a corpus.

    A CSV file with one row per utterance: id, session, speaker, label, media files and times. Files that are not taken
    are counted by suffix and reason.
    """
    from .run import build_manifest, require_own_root

    require_own_root(settings.corpus, given)
    build_manifest(settings.corpus, speaker=speaker, force=force)
