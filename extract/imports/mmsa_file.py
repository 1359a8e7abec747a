"""An MMSA feature file that was saved again as .npz: padded arrays of all utterances, by modality and split.

MMSA and MMSA-FET (https://github.com/thuiar/MMSA) write a pickled dictionary: the splits `train`, `valid` and `test`,
each with the arrays `id` (n,), `audio` and `vision` (n, t, d), `audio_lengths` and `vision_lengths` (n,), and texts and
labels. Nothing is unpickled here; docs/howto/import-features.md has the two lines that convert such a file.
"""

import logging
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...shared.errors import FoalError, StoreError, UsageError
from ...shared.text import counted, quoted, shortened
from ...shared.utterance import Utterance
from .feature_source import ids_in_manifest

KEYS = {"audio": "audio", "face": "vision", "text": "text"}
"""The usual array of each modality."""

ID_KEYS = ("id", "ids")
NPY_MAGIC = b"\x93NUMPY"
TOKEN_IDS = "text_bert"

CONVERSION = (
    'data = numpy.load("FILE.pkl", allow_pickle=True)  # Python, after `import numpy`; only for files that you trust\n'
    'numpy.savez("FILE.npz", **{f"{s}/{k}": numpy.asarray(v) for s, part in data.items() for k, v in part.items()})'
)

log = logging.getLogger(__name__)


class MmsaFile:
    """The arrays of one modality in an .npz file, by utterance. They stay in memory.

    Frames behind an utterance's length are padding. Without lengths, frames of zeros at either end are.

    Args:
        modality: audio, face or text.
        path: the .npz file. Its arrays are named `audio` or `train/audio`.
        manifest: the rows of the manifest.
        key: the array, instead of `audio`, `vision` or `text`.
        id_key: the array of ids, instead of `id` or `ids`.

    Raises:
        StoreError: the file cannot be read, or arrays do not fit together.
        UsageError: an array is missing, or no id is one of the manifest's.
    """

    def __init__(
        self, modality: str, path: Path, manifest: Sequence[Utterance], *, key: str | None, id_key: str | None
    ) -> None:
        self.name = path.name
        key = key or KEYS[modality]
        self.place = f"{path}, array {key}"
        found: dict[str, NDArray[Any]] = {}
        for utterance_id, array in _utterances(modality, path, key, id_key):
            if utterance_id in found:
                raise StoreError(f"{path}: expected unique ids, got {quoted(utterance_id)} again")
            found[utterance_id] = array
        self._arrays = {name: found[name] for name in ids_in_manifest(found, manifest, modality, path)}

    @property
    def ids(self) -> Collection[str]:
        """The utterances of the manifest that are in the file."""
        return self._arrays.keys()

    def where(self, utterance_id: str) -> str:
        """The file, the array and the id."""
        return f"{self.place}, id {quoted(utterance_id)}"

    def read(self, utterance_id: str) -> NDArray[Any]:
        """The array without padding."""
        return self._arrays[utterance_id]


def check_npz(path: Path) -> None:
    """Raise FoalError unless a file exists, and UsageError unless it is an .npz file; a pickle gets its conversion."""
    if not path.exists():
        raise FoalError(f"{path}: expected an .npz file, but there is no such file")
    if not path.is_file():
        raise UsageError(f"{path}: expected an .npz file, got a folder or a device")
    with path.open("rb") as file:
        start = file.read(6)
    if zipfile.is_zipfile(path):
        return
    if start.startswith(b"\x80") or start == NPY_MAGIC:
        # An .npy file with a dictionary is a pickle as well.
        kind, code = "a pickle", CONVERSION
        if start == NPY_MAGIC:
            kind, code = "an .npy file", CONVERSION.replace("FILE.pkl", "FILE.npy").replace("True)", "True).item()")
        raise UsageError(
            f"{path}: expected an .npz file, got {kind}; foal never loads pickles, because they can run code. Convert "
            f"it once:\n{code}"
        )
    raise UsageError(f"{path}: expected an .npz file, got one of another format")


def _utterances(modality: str, path: Path, key: str, id_key: str | None) -> Iterator[tuple[str, NDArray[Any]]]:
    """The id and the array of every utterance. Raises StoreError and UsageError."""
    check_npz(path)
    try:
        file = np.load(path, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path}: expected a complete .npz file, got one that cannot be read: {error}") from None
    with file:
        parts = [name.removesuffix(key) for name in file.files if name == key or name.endswith(f"/{key}")]
        if not parts:
            raise UsageError(
                f"{path}: expected an array {key} or train/{key}, got {shortened(', '.join(file.files), 300)}; name "
                f"another one with --{modality}-key"
            )
        if any(name.rpartition("/")[2] == TOKEN_IDS for name in file.files):
            log.info(f"{path}: {TOKEN_IDS} not imported; it holds ids of tokens, which are no features")
        for part in parts:
            yield from _utterances_of_part(path, file, part, key, id_key)


def _utterances_of_part(
    path: Path, file: Any, part: str, key: str, id_key: str | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    id_keys = [name for name in ((id_key,) if id_key else ID_KEYS) if f"{part}{name}" in file.files]
    if not id_keys:
        raise UsageError(
            f"{path}: expected the ids of {part}{key} in an array {part}{id_key or 'id'}, got "
            f"{shortened(', '.join(file.files), 300)}; name another one with --id-key"
        )
    ids, values = _member(path, file, f"{part}{id_keys[0]}"), _member(path, file, f"{part}{key}")
    lengths_name = f"{part}{key}_lengths"
    lengths = _member(path, file, lengths_name) if lengths_name in file.files else None
    if ids.ndim != 1 or ids.dtype.kind not in "USiu":
        raise StoreError(
            f"{path}: expected one text per utterance in {part}{id_keys[0]}, got {ids.dtype} of shape {ids.shape}"
        )
    if values.ndim not in (2, 3) or len(values) != len(ids):
        raise StoreError(
            f"{path}: expected {part}{key} of shape ({len(ids)}, frames, width) or ({len(ids)}, width), got "
            f"{values.shape}"
        )
    if lengths is not None and (lengths.shape != (len(ids),) or lengths.dtype.kind not in "iu" or (lengths < 0).any()):
        raise StoreError(f"{path}: expected {len(ids)} numbers of frames in {lengths_name}, got {lengths.dtype}")
    if lengths is not None and values.ndim == 3 and (cut := int((lengths > values.shape[1]).sum())):
        log.info(
            f"{path}: {counted(cut, 'utterance')} of {part}{key} cut to {values.shape[1]} frames when it was written"
        )
    for row, name in enumerate(ids.tolist()):
        array = values[row]
        if values.ndim == 3:
            array = _without_padding(array) if lengths is None else array[: int(lengths[row])]
        yield name.decode(errors="replace") if isinstance(name, bytes) else str(name), array


def _without_padding(array: NDArray[Any]) -> NDArray[Any]:
    """The array without the frames of zeros at both ends."""
    (data,) = np.nonzero(array.any(1))
    return array[data[0] : data[-1] + 1] if len(data) else array[:0]


def _member(path: Path, file: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(file[name])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise StoreError(
                f"{path}: expected an array of numbers or texts in {name}, got Python objects (a pickle), which foal "
                "never loads; save it as arrays of one length, padded with zeros, and their lengths"
            ) from None
        raise StoreError(f"{path}: {name} cannot be read: {error}") from None
