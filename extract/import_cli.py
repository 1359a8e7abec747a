"""`foal import`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import BREAK_LOCK_OPTION, PARAMS_OPTION, SET_OPTION, option, settings_from
from ..shared.config.settings import STREAM_NAME
from ..shared.errors import UsageError


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
