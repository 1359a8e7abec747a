"""The command `foal import`."""

import math
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..shared.cli.options import BREAK_LOCK_OPTION, FORCE_OPTION, setting, with_settings
from ..shared.config.settings import STREAM_NAME, Settings
from ..shared.errors import FoalError, UsageError


class FileFormat(StrEnum):
    """How imported features are stored."""

    NPY = "npy"
    MMSA = "mmsa"
    DATASETS = "datasets"


class NanRule(StrEnum):
    """What frames with NaN mean."""

    REFUSE = "refuse"
    INVALID = "invalid"


class ZeroRule(StrEnum):
    """What frames of zeros mean."""

    INVALID = "invalid"
    VALID = "valid"


@with_settings(manifest=setting("corpus.manifest", "--manifest", "-m"), dtype="extract.dtype")
def import_features(
    *,
    settings: Settings,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the shards and feats.h5 to")],
    audio: Annotated[
        Path | None, typer.Option("--audio", help="Audio features: folder or file, see --format", show_default=False)
    ] = None,
    face: Annotated[
        Path | None, typer.Option("--face", help="Face features: folder or file, see --format", show_default=False)
    ] = None,
    text: Annotated[
        Path | None, typer.Option("--text", help="Text features: folder or file, see --format", show_default=False)
    ] = None,
    file_format: Annotated[
        FileFormat,
        typer.Option(
            "--format",
            help="npy: a folder with one ID.npy each; mmsa: an MMSA feature file saved as .npz; datasets: a folder "
            "with Arrow or Parquet files of Hugging Face datasets",
        ),
    ] = FileFormat.NPY,
    audio_rate: Annotated[
        float | None,
        typer.Option("--audio-rate", metavar="HZ", help="Audio frames per second (default: estimated)"),
    ] = None,
    face_rate: Annotated[
        float | None,
        typer.Option("--face-rate", metavar="HZ", help="Face frames per second (default: estimated)"),
    ] = None,
    nan: Annotated[
        NanRule, typer.Option("--nan", help="Frames with NaN or infinite numbers: refuse, or mark as invalid")
    ] = NanRule.REFUSE,
    zeros: Annotated[
        ZeroRule | None,
        typer.Option(
            "--zeros",
            help="Frames of zeros: mark as invalid, or keep as valid (default: face and text invalid, that is no "
            "face or no words; audio valid, except for utterances of zeros only)",
            show_default=False,
        ),
    ] = None,
    audio_key: Annotated[
        str | None,
        typer.Option("--audio-key", metavar="NAME", help="Array or column of the audio features (default: audio)"),
    ] = None,
    face_key: Annotated[
        str | None,
        typer.Option(
            "--face-key",
            metavar="NAME",
            help="Array or column of the face features (default: vision; of datasets: face, vision or video)",
        ),
    ] = None,
    text_key: Annotated[
        str | None,
        typer.Option(
            "--text-key",
            metavar="NAME",
            help="Array or column of the text features (default: text; of datasets: text_features or text)",
        ),
    ] = None,
    id_key: Annotated[
        str | None, typer.Option("--id-key", metavar="NAME", help="Array or column of the ids (default: id)")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name the stream audio/NAME, face/NAME or text/NAME (default: audio, face, text)"),
    ] = None,
    replace_index: Annotated[
        bool,
        typer.Option("--replace-index", help="Index only this import (default: keep the streams of feats.h5)"),
    ] = False,
    break_lock: Annotated[bool, BREAK_LOCK_OPTION] = False,
    force: Annotated[bool, FORCE_OPTION] = False,
) -> None:
    """Import precomputed features.

    Reads one array per utterance of the manifest, of shape (width,) or (frames, width), and writes shards and a
    feats.h5 to train on. A second import of a stream replaces the first. The manifest needs no media.
    """
    from .imports.import_features import import_features as run
    from .imports.imported_frames import FrameRules

    given = {"audio": audio, "face": face, "text": text}
    paths = {modality: path for modality, path in given.items() if path is not None}
    rates = {modality: rate for modality, rate in (("audio", audio_rate), ("face", face_rate)) if rate is not None}
    names = {"audio": audio_key, "face": face_key, "text": text_key, "id": id_key}
    keys = {key: value for key, value in names.items() if value is not None}
    _check_options(paths, out, file_format, rates, keys, name)
    run(
        settings,
        paths,
        out,
        file_format=file_format.value,
        keys=keys,
        rules=FrameRules(nan=nan.value, zeros=None if zeros is None else zeros.value),
        rates=rates,
        name=name,
        replace_index=replace_index,
        break_lock=break_lock,
        force=force,
    )


def _check_options(
    paths: Mapping[str, Path],
    out: Path,
    file_format: FileFormat,
    rates: Mapping[str, float],
    keys: Mapping[str, str],
    name: str | None,
) -> None:
    """Raise UsageError if the options of `foal import` contradict each other."""
    if not paths:
        raise UsageError("expected one or several of --audio PATH, --face PATH and --text PATH, got none")
    for modality, path in paths.items():
        _check_path(modality, path, file_format)
    for modality, rate_hz in rates.items():
        if modality not in paths:
            raise UsageError(f"--{modality}-rate: expected --{modality} PATH as well, got none")
        if not 0 < rate_hz < math.inf:
            raise UsageError(f"--{modality}-rate: expected frames per second above 0, got {rate_hz:g}")
    if keys and file_format is FileFormat.NPY:
        option = f"--{next(iter(keys))}-key"
        raise UsageError(
            f"{option}: expected --format mmsa or datasets; the files of --format npy have no names inside"
        )
    if name is not None and not STREAM_NAME.fullmatch(name):
        raise UsageError(
            "--name: expected a name such as clip, of letters, digits, '.', '_' and '-' (some names, such as quality, "
            f"are reserved), got {name!r}"
        )
    if name is not None and len(paths) > 1:
        raise UsageError(f"--name: expected one modality, got {' and '.join(paths)}; import one at a time")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out: expected a folder to write into, got the file {out}")


def _check_path(modality: str, path: Path, file_format: FileFormat) -> None:
    """Raise UsageError if a path is not what the format needs, with the format that it would fit."""
    if file_format is FileFormat.MMSA:
        # Names a pickle as what it is.
        from .imports.mmsa_file import check_npz

        check_npz(path)
    elif not path.exists():
        raise FoalError(f"--{modality}: {path}: no such folder")
    elif not path.is_dir():
        files = ".npy files" if file_format is FileFormat.NPY else ".arrow or .parquet files"
        hint = "; containers such as .npz are read with --format mmsa" if path.is_file() else ""
        raise UsageError(f"--{modality}: expected a folder of {files}, got {path}{hint}")
    elif file_format is FileFormat.NPY and (path / "state.json").is_file() | (path / "dataset_dict.json").is_file():
        raise UsageError(
            f"--{modality}: expected a folder of .npy files, got a dataset in {path}; use --format datasets"
        )
