"""`foal synth`, `foal corpus` and `foal manifest`: from a corpus on disk to its manifest."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import PARAMS_OPTION, SET_OPTION, comma_list, option, settings_from


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to draw the corpus into; must not exist or be empty")],
    utterances: Annotated[int | None, option("synth.utterances", "--utterances", "-n")] = None,
    seed: Annotated[int | None, option("synth.seed", "--seed")] = None,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """Draw and speak a small corpus.

    In IEMOCAP's layout, without licence or network, the same on every run.
    """
    from .run import draw

    draw(out, settings_from(params, assign, synth__utterances=utterances, synth__seed=seed).synth)


def corpus(
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    kind: Annotated[str | None, option("corpus.kind", "--kind")] = None,
    root: Annotated[Path | None, option("corpus.root", "--root")] = None,
    record: Annotated[Path, typer.Option("--record", help="Where to note what was found (JSON)")] = Path("corpus.json"),
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """Provide the corpus of params.yaml.

    The synthetic one is drawn if need be; a licensed one must be there, and is never touched.
    """
    from .run import provide

    provide(settings_from(params, assign, corpus__kind=kind, corpus__root=root), record)


def manifest(
    kind: Annotated[str | None, typer.Argument(help="iemocap, cremad, ravdess, folder or synthetic")] = None,
    root: Annotated[Path | None, typer.Argument(help="The corpus' folder")] = None,
    out: Annotated[Path | None, option("corpus.manifest", "-o", "--out")] = None,
    classes: Annotated[str | None, option("corpus.classes", "--classes", metavar="A,B,...")] = None,
    speaker: Annotated[
        str | None,
        typer.Option("--speaker", help="folder only: pattern whose first group in a file's name is the speaker"),
    ] = None,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """Write the manifest of a corpus.

    One line per utterance: who said what, when, with which label, in which files.
    """
    from .run import write

    settings = settings_from(
        params, assign, corpus__kind=kind, corpus__root=root, corpus__manifest=out, corpus__classes=comma_list(classes)
    )
    write(settings.corpus, speaker=speaker)
