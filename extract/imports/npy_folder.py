"""A folder of precomputed features, one ID.npy per utterance."""

import logging
import os
import posixpath
from collections.abc import Collection, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...shared.errors import StoreError, UsageError
from ...shared.utterance import Utterance

log = logging.getLogger(__name__)


class NpyFolder:
    """The ID.npy files of a folder, by utterance.

    Args:
        modality: audio, face or text, for messages.
        folder: the folder; ids with slashes lead into sub-folders.
        manifest: the rows of the manifest.

    Raises:
        UsageError: no file has the name of an utterance.
    """

    def __init__(self, modality: str, folder: Path, manifest: Sequence[Utterance]) -> None:
        self.place = str(folder)
        self.name = folder.absolute().name
        self.paths: dict[str, Path] = {}
        for utterance in manifest:
            path = _file_of(folder, utterance.id)
            if path is not None:
                self.paths[utterance.id] = path
        others = sorted({path for path in folder.rglob("*.npy") if path.is_file()} - set(self.paths.values()))
        if not self.paths:
            expected = ", ".join(f"{utterance.id}.npy" for utterance in manifest[:3])
            got = ", ".join(path.relative_to(folder).as_posix() for path in others[:3]) or "no .npy file"
            raise UsageError(f"{folder}: expected files named after the manifest's ids, such as {expected}; got {got}")
        if others:
            log.info(f"{modality}: {len(others)} files of {folder} belong to no utterance of the manifest")

    @property
    def ids(self) -> Collection[str]:
        """The utterances that have a file."""
        return self.paths.keys()

    def where(self, utterance_id: str) -> str:
        """The path of the utterance's file."""
        return str(self.paths[utterance_id])

    def read(self, utterance_id: str) -> NDArray[Any]:
        """The array, memory-mapped. Raises StoreError."""
        return open_array(self.paths[utterance_id])


def _file_of(folder: Path, utterance_id: str) -> Path | None:
    """The utterance's file. Slashes of either kind in an id lead into sub-folders, but never out of the folder."""
    for text in dict.fromkeys((utterance_id, utterance_id.replace("\\", "/"))):
        relative = posixpath.normpath(f"{text}.npy")
        # Path.is_file raises OSError for a name that is too long.
        if not relative.startswith(("/", "../")) and os.path.isfile(folder / relative):
            return folder / relative
    return None


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
