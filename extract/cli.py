"""`foal extract` and `foal index`."""

from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import BREAK_LOCK_OPTION, PARAMS_OPTION, SET_OPTION, comma_list, option, settings_from


def extract(
    split: Annotated[
        list[str], typer.Option("--split", "-s", help="Session (or corpus) to extract; may be repeated, or 'all'")
    ],
    manifest: Annotated[Path | None, option("corpus.manifest", "--manifest", "-m")] = None,
    root: Annotated[Path | None, option("corpus.root", "--root", "-r")] = None,
    features: Annotated[Path | None, option("extract.features", "--features")] = None,
    workers: Annotated[int | None, option("extract.workers", "--workers", "-j")] = None,
    scheduler: Annotated[str | None, option("extract.scheduler", "--scheduler")] = None,
    modalities: Annotated[str | None, option("extract.modalities", "--modalities", metavar="A,B")] = None,
    audio_encoder: Annotated[str | None, option("extract.audio.encoder", "--audio-encoder")] = None,
    revision: Annotated[str | None, option("extract.audio.revision", "--revision")] = None,
    face_encoder: Annotated[str | None, option("extract.face.encoder", "--face-encoder")] = None,
    view: Annotated[str | None, option("extract.face.view", "--view")] = None,
    layers: Annotated[str | None, option("extract.audio.layers", "--layers", metavar="last|mean|all|N,N")] = None,
    precision: Annotated[str | None, option("extract.precision", "--precision")] = None,
    fingerprint: Annotated[str | None, option("extract.fingerprint", "--fingerprint")] = None,
    fps: Annotated[float | None, option("extract.face.fps", "--fps")] = None,
    chunk_seconds: Annotated[float | None, option("extract.chunk_seconds", "--chunk-seconds")] = None,
    store: Annotated[str | None, option("extract.store", "--store")] = None,
    max_failures: Annotated[str | None, option("extract.max_failures", "--max-failures", metavar="N|P%")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before, though nothing has changed since")
    ] = False,
    break_lock: Annotated[bool, BREAK_LOCK_OPTION] = False,
    allow_outside: Annotated[bool | None, option("corpus.allow_outside", "--allow-outside/--no-allow-outside")] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            "--index", help="The feats.h5 to write [key index, default: feats.h5; with --features in that folder]"
        ),
    ] = None,
    verify: Annotated[bool | None, option("extract.verify", "--verify/--no-verify")] = None,
    no_index: Annotated[bool, typer.Option("--no-index", help="Write shards only")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, how large it becomes and how long it takes")
    ] = False,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """Run the frozen encoders over a corpus.

    Every utterance of the splits once, in parallel; what is done already is left alone, and a run that was stopped
    goes on where it was.

    Exit code 3: finished, but some utterances failed; features/SPLIT/failures.csv says why.
    """
    from .run import extract as run

    settings = settings_from(
        params, assign, corpus__manifest=manifest, corpus__root=root, extract__features=features,
        extract__workers=workers, extract__modalities=comma_list(modalities), extract__audio__encoder=audio_encoder,
        extract__audio__revision=revision, extract__face__encoder=face_encoder, extract__face__fps=fps,
        extract__chunk_seconds=chunk_seconds, extract__store=store, extract__verify=verify,
        extract__face__view=view, extract__audio__layers=_layers(layers), extract__precision=precision,
        extract__fingerprint=fingerprint, extract__scheduler=scheduler, extract__max_failures=max_failures,
        corpus__allow_outside=allow_outside,
    )  # fmt: skip
    # Shards in a folder of the user's own: their index belongs beside them, not over the project's.
    place = index or (features / "feats.h5" if features is not None else settings.index)
    raise typer.Exit(
        run(
            settings, split, index=None if no_index else place, dry_run=dry_run, retry_failed=retry_failed,
            break_lock=break_lock,
        )
    )  # fmt: skip


def _layers(text: str | None) -> str | list[str] | None:
    """`6,9,12` as a list, words as they are."""
    return text if text is None or text.isalpha() else comma_list(text)


def index(
    manifest: Annotated[Path | None, option("corpus.manifest", "--manifest", "-m")] = None,
    features: Annotated[Path | None, option("extract.features", "--features")] = None,
    root: Annotated[Path | None, option("corpus.root", "--root", "-r")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The feats.h5 to write [key index, default: feats.h5]")
    ] = None,
    modalities: Annotated[str | None, option("extract.modalities", "--modalities", metavar="A,B")] = None,
    pack: Annotated[bool, typer.Option("--pack", help="Copy the values into it, to hand it to somebody else")] = False,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="STREAM=KEY", help="Which shards, where a folder holds several kinds"),
    ] = None,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """Join manifest and shards into feats.h5.

    That is the file that training reads. `foal extract` writes it too.
    """
    from .maintenance.index import index_features

    settings = settings_from(
        params,
        assign,
        corpus__manifest=manifest,
        corpus__root=root,
        extract__features=features,
        extract__modalities=comma_list(modalities),
    )
    place = out or (features / "feats.h5" if features is not None else settings.index)
    index_features(settings, place, pack=pack, keys=key or [])
