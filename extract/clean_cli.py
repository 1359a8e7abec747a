"""`foal clean`."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import BREAK_LOCK_OPTION, PARAMS_OPTION, SET_OPTION, option, settings_from


def clean(
    remove: Annotated[bool, typer.Option("--remove", help="Remove what is listed; without it nothing is")] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="KEY",
            help="Keep the shards of this key (as in face-KEY, eight digits or all); may be repeated",
        ),
    ] = None,
    imported: Annotated[
        bool, typer.Option("--imported", help="Imported features of unused keys are stale too")
    ] = False,
    break_lock: Annotated[bool, BREAK_LOCK_OPTION] = False,
    manifest: Annotated[Path | None, option("corpus.manifest", "--manifest", "-m")] = None,
    root: Annotated[Path | None, option("corpus.root", "--root", "-r")] = None,
    features: Annotated[Path | None, option("extract.features", "--features")] = None,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """List shards that nothing needs any more, and remove them with --remove.

    Those of other configurations than the settings', those whose utterances were changed, extracted anew or taken out
    of the manifest, and damaged ones. What feats.h5 points to is kept, and so are files that are not foal's.
    """
    from .maintenance.clean import clean_features

    settings = settings_from(params, assign, corpus__manifest=manifest, corpus__root=root, extract__features=features)
    place = features / "feats.h5" if features is not None else settings.index
    clean_features(settings, place, keep=keep or [], imported=imported, remove=remove, break_lock=break_lock)
