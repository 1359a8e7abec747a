"""`foal extract` and `foal index`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import BREAK_LOCK_OPTION, PARAMS_OPTION, SET_OPTION, comma_list, option, settings_from
from ..shared.config.settings import STREAM_NAME
from ..shared.errors import UsageError


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


def import_features(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write: the shards, and feats.h5 over them")],
    manifest: Annotated[Path | None, option("corpus.manifest", "--manifest", "-m")] = None,
    audio: Annotated[
        Path | None, typer.Option("--audio", help="Folder of audio features, ID.npy each", show_default=False)
    ] = None,
    face: Annotated[
        Path | None, typer.Option("--face", help="Folder of face features, ID.npy each", show_default=False)
    ] = None,
    audio_rate: Annotated[
        float | None,
        typer.Option(
            "--audio-rate", metavar="HZ", help="Audio frames per second [default: estimated from the manifest's times]"
        ),
    ] = None,
    face_rate: Annotated[
        float | None,
        typer.Option(
            "--face-rate", metavar="HZ", help="Face frames per second [default: estimated from the manifest's times]"
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Call the stream face/NAME (or audio/NAME) [default: plain audio and face]"),
    ] = None,
    store: Annotated[str | None, option("extract.store", "--store")] = None,
    break_lock: Annotated[bool, BREAK_LOCK_OPTION] = False,
    params: Annotated[Path | None, PARAMS_OPTION] = None,
    assign: Annotated[list[str] | None, SET_OPTION] = None,
) -> None:
    """Take in features that others computed.

    Folders with one file ID.npy per utterance of the manifest, (width,) or (frames, width), become shards and a
    feats.h5 to train on. Imported again, they replace those of the last time.
    """
    from .maintenance.import_features import import_features as run

    settings = settings_from(params, assign, corpus__manifest=manifest, extract__store=store)
    folders = {modality: folder for modality, folder in (("audio", audio), ("face", face)) if folder is not None}
    rates = {modality: rate for modality, rate in (("audio", audio_rate), ("face", face_rate)) if rate is not None}
    _check_request(folders, out, rates, name)
    run(settings, folders, out, rates=rates, name=name, break_lock=break_lock)


def _check_request(folders: Mapping[str, Path], out: Path, rates: Mapping[str, float], name: str | None) -> None:
    """Raises UsageError if the options do not fit together."""
    if not folders:
        raise UsageError("expected --audio DIR, --face DIR or both, got neither")
    for modality, folder in folders.items():
        if not folder.is_dir():
            raise UsageError(f"--{modality}: expected a folder of .npy files, got {folder}")
    for modality, rate_hz in rates.items():
        if modality not in folders:
            raise UsageError(f"--{modality}-rate: expected --{modality} DIR beside it, got none")
        if not 0 < rate_hz < math.inf:
            raise UsageError(f"--{modality}-rate: expected frames per second above 0, got {rate_hz:g}")
    if name is not None and not STREAM_NAME.fullmatch(name):
        raise UsageError(
            "--name: expected a name such as clip, of letters, digits, '.', '_' and '-' (quality and a few more are "
            f"taken), got {name!r}"
        )
    if name is not None and len(folders) > 1:
        raise UsageError(f"--name: expected one modality, got {' and '.join(folders)}; import them one by one")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out: expected a folder to write into, got the file {out}")


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
