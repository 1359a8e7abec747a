"""A folder of precomputed features, one ID.npy per utterance: found, checked, and its frame rate estimated."""

import logging
import os
import posixpath
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...shared.errors import StoreError, UsageError
from ...shared.utterance import Utterance

RATE_TOLERANCE = 0.02
"""An estimated rate this close to a round number is rounded to it: encoders drop a frame or two at the ends."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FeatureFolder:
    """A folder with the features of one modality, checked: the file and the number of frames of each utterance."""

    modality: str
    folder: Path
    width: int
    paths: Mapping[str, Path]
    frames: Mapping[str, int]


def check_folder(modality: str, folder: Path, manifest: Sequence[Utterance], dtype: str) -> FeatureFolder:
    """Find and check the file of every utterance.

    Args:
        modality: audio or face.
        folder: the folder of ID.npy files; ids with slashes lead into sub-folders.
        manifest: the rows of the manifest.
        dtype: the number format that the values must fit into.

    Raises:
        UsageError: no file has the name of an utterance.
        StoreError: a file's values cannot be features; the message names the file.
    """
    paths: dict[str, Path] = {}
    for utterance in manifest:
        path = _file_of(folder, utterance.id)
        if path is not None:
            paths[utterance.id] = path
    others = sorted({path for path in folder.rglob("*.npy") if path.is_file()} - set(paths.values()))
    if not paths:
        expected = ", ".join(f"{utterance.id}.npy" for utterance in manifest[:3])
        got = ", ".join(path.relative_to(folder).as_posix() for path in others[:3]) or "no .npy file"
        raise UsageError(f"{folder}: expected files named after the manifest's ids, such as {expected}; got {got}")
    frames: dict[str, int] = {}
    width = 0
    first = Path()
    for utterance_id, path in paths.items():
        frames[utterance_id], file_width = _check_shape(path, dtype)
        if not width:
            width = file_width
            first = path
        elif file_width != width:
            raise StoreError(
                f"{path}: expected {width} numbers per frame as in {first}, got {file_width}; "
                "the arrays of one modality are (width,) or (frames, width), all of one width"
            )
    if others:
        log.info(f"{modality}: {len(others)} files of {folder} belong to no utterance of the manifest")
    return FeatureFolder(modality=modality, folder=folder, width=width, paths=paths, frames=frames)


def _file_of(folder: Path, utterance_id: str) -> Path | None:
    """The utterance's file. Slashes of either kind in an id lead into sub-folders, but never out of the folder."""
    for text in dict.fromkeys((utterance_id, utterance_id.replace("\\", "/"))):
        relative = posixpath.normpath(f"{text}.npy")
        # Path.is_file raises OSError for a name that is too long.
        if not relative.startswith(("/", "../")) and os.path.isfile(folder / relative):
            return folder / relative
    return None


def _check_shape(path: Path, dtype: str) -> tuple[int, int]:
    """Frames and width of a file whose numbers can be stored as `dtype`. Raises StoreError."""
    array = open_array(path)
    if array.dtype.kind not in "fiu":
        raise StoreError(f"{path}: expected an array of numbers, got one of type {array.dtype}")
    if array.ndim not in (1, 2):
        raise StoreError(f"{path}: expected an array of shape (width,) or (frames, width), got {array.shape}")
    if array.size == 0:
        raise StoreError(f"{path}: expected at least one frame, got an empty array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise StoreError(f"{path}: expected finite numbers, got NaN or infinite ones")
    if not np.can_cast(array.dtype, dtype):
        extremes = np.array([array.min(), array.max()])
        with np.errstate(over="ignore"):
            fits = np.isfinite(extremes.astype(dtype)).all()
        if not fits:
            remedy = "; set extract.dtype to float32 (--dtype float32)" if dtype == "float16" else ""
            raise StoreError(f"{path}: the values are too large for {dtype} ({abs(extremes).max():g}){remedy}")
    return (1, len(array)) if array.ndim == 1 else array.shape


def open_array(path: Path) -> NDArray[Any]:
    """The array of an .npy file, memory-mapped. Nothing is unpickled, and .npz files are refused."""
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, OverflowError, SyntaxError, TokenError) as error:
        raise StoreError(
            f"{path}: expected a complete .npy file of numbers, got one that cannot be read: {error}"
        ) from None
    except (MemoryError, RecursionError):
        # Raised by Python's parser, to which NumPy passes the header, for deeply nested expressions.
        raise StoreError(
            f"{path}: expected a complete .npy file of numbers, got one with a header that is nested too deeply"
        ) from None
    return array


def estimate_rate(source: FeatureFolder, manifest: Iterable[Utterance], manifest_path: Path) -> float:
    """Estimate the frames per second (Hz): the median over utterances with a known length; 1 for single vectors.

    Raises UsageError if the manifest has the length of no utterance; `manifest_path` names it in the message.
    """
    if max(source.frames.values()) == 1:
        return 1.0
    rates = [
        source.frames[utterance.id] / utterance.seconds
        for utterance in manifest
        if utterance.id in source.frames and utterance.seconds is not None
    ]
    if not rates:
        raise UsageError(
            f"{source.folder}: the files are sequences, but {manifest_path} has no end times for their utterances; "
            f"give the frames per second with --{source.modality}-rate HZ"
        )
    median = statistics.median(rates)
    # wav2vec2's 50 Hz look like 49.3 in short utterances: multiples of five come before other whole numbers.
    candidates = [float(step * round(median / step)) for step in (5, 1)]
    close = [number for number in candidates if abs(median - number) <= RATE_TOLERANCE * number]
    # Else four digits: the rate is part of the config hash, which one utterance more should not change.
    rate_hz = close[0] if close else float(f"{median:.4g}")
    log.info(
        f"{source.modality}: {rate_hz:g} frames per second, estimated from {len(rates)} utterances "
        f"({min(rates):.4g} to {max(rates):.4g}); --{source.modality}-rate overrides it"
    )
    return rate_hz
