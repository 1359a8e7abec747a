"""A Hugging Face dataset on disk: Arrow files of `save_to_disk`, or Parquet files.

The files are read with PyArrow, whose extra is `datasets`; the package `datasets` is not needed. Cells are nested lists
of numbers; extension types of `datasets` (Array2D) are stored as such lists.
"""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...shared.errors import StoreError, UsageError
from ...shared.text import quoted, shortened
from ...shared.utterance import Utterance
from .feature_source import ids_in_manifest

try:
    import pyarrow
    import pyarrow.parquet
except ImportError:
    raise UsageError(
        "--format datasets: expected the package pyarrow, which is not installed; install foal with the extra datasets"
        " (pip install -e '.[datasets]')"
    ) from None

KEYS = {"audio": ("audio",), "face": ("face", "vision", "video"), "text": ("text_features", "text")}
"""The usual columns of each modality; the first that exists is read."""

ID_KEY = "id"
ARROW_FILE_MAGIC = b"ARROW1"
GIT_LFS_MAGIC = b"version https://git-lfs"

log = logging.getLogger(__name__)


class DatasetFolder:
    """The cells of one column in the files of a folder, by utterance. Arrow files are memory-mapped.

    Args:
        modality: audio, face or text.
        folder: the folder with .arrow or .parquet files, at any depth; all of its splits are read.
        manifest: the rows of the manifest.
        key: the column, instead of the usual ones.
        id_key: the column of ids, instead of `id`.

    Raises:
        StoreError: a file cannot be read, or ids are missing or repeated.
        UsageError: there are no files, a column is missing, or no id is one of the manifest's.
    """

    def __init__(
        self, modality: str, folder: Path, manifest: Sequence[Utterance], *, key: str | None, id_key: str | None
    ) -> None:
        self.name = folder.absolute().name
        files = sorted(path for suffix in ("arrow", "parquet") for path in folder.rglob(f"*.{suffix}"))
        # `datasets` keeps the results of `map` beside the data.
        files = [path for path in files if not path.name.startswith("cache-")]
        if not files:
            raise UsageError(f"{folder}: expected a folder with .arrow or .parquet files, got none")
        self._columns: list[Any] = []
        place: dict[str, tuple[int, int]] = {}
        self.place = str(folder)
        for number, path in enumerate(files):
            ids, column, name = _columns_of(modality, path, key, id_key or ID_KEY)
            self.place = f"{folder}, column {name}"
            self._columns.append(column)
            for row, utterance_id in enumerate(ids):
                if utterance_id is None:
                    raise StoreError(f"{path}: expected an id in every row, got none in row {row}")
                if str(utterance_id) in place:
                    raise StoreError(f"{path}: expected unique ids, got {quoted(utterance_id)} again in row {row}")
                place[str(utterance_id)] = number, row
        hint = "; another column is chosen with --id-key"
        self._place = {name: place[name] for name in ids_in_manifest(place, manifest, modality, folder, hint=hint)}

    @property
    def ids(self) -> Collection[str]:
        """The utterances of the manifest that are in the dataset."""
        return self._place.keys()

    def where(self, utterance_id: str) -> str:
        """The folder, the column and the id."""
        return f"{self.place}, id {quoted(utterance_id)}"

    def read(self, utterance_id: str) -> NDArray[Any]:
        """The array of a cell; empty for a cell without a value. Raises StoreError."""
        number, row = self._place[utterance_id]
        try:
            return _as_array(self._columns[number].slice(row, 1))
        except ValueError as error:
            raise StoreError(f"{self.where(utterance_id)}: {error}") from None


def _columns_of(modality: str, path: Path, key: str | None, id_key: str) -> tuple[list[Any], Any, str]:
    """The ids of a file, the cells of the modality's column as one array, and its name."""
    try:
        names = _names(path)
        keys = [name for name in ((key,) if key else KEYS[modality]) if name in names]
        for option, wanted, found in (
            (f"--{modality}-key", key or " or ".join(KEYS[modality]), keys),
            ("--id-key", id_key, [id_key] if id_key in names else []),
        ):
            if not found:
                raise UsageError(
                    f"{path}: expected a column {wanted}, got {shortened(', '.join(names), 300)}; choose one with "
                    f"{option}"
                )
        table = _read_table(path, [id_key, keys[0]])
        return table.column(id_key).to_pylist(), table.column(keys[0]), keys[0]
    except (OSError, pyarrow.ArrowException) as error:
        with path.open("rb") as file:
            if file.read(len(GIT_LFS_MAGIC)) == GIT_LFS_MAGIC:
                raise StoreError(f"{path}: is a Git LFS pointer, not the file itself; run `git lfs pull`") from None
        problem = str(error).splitlines()[0]
        raise StoreError(
            f"{path}: expected a complete Arrow or Parquet file, got one that cannot be read: {problem}"
        ) from None


def _names(path: Path) -> list[str]:
    """The columns of a file."""
    if path.suffix == ".parquet":
        return list(pyarrow.parquet.read_schema(path).names)
    return list(_open_arrow(path).schema.names)


def _read_table(path: Path, columns: list[str]) -> Any:
    """The columns of a file as a pyarrow.Table."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.ParquetFile(path).read(columns=columns)
    return _open_arrow(path).read_all().select(columns)


def _open_arrow(path: Path) -> Any:
    """A reader of an Arrow file, memory-mapped: `datasets` writes the stream format, other tools the file format."""
    with path.open("rb") as file:
        is_file_format = file.read(len(ARROW_FILE_MAGIC)) == ARROW_FILE_MAGIC
    open_format = pyarrow.ipc.open_file if is_file_format else pyarrow.ipc.open_stream
    return open_format(pyarrow.memory_map(str(path)))


def _as_array(column: Any) -> NDArray[Any]:
    """The array of a column with one row, whose cell is a list of numbers or of lists of numbers."""
    cells = next(chunk for chunk in column.chunks if len(chunk))
    if isinstance(cells, pyarrow.ExtensionArray):
        cells = cells.storage
    if cells.null_count:
        return np.zeros(0, np.float32)
    if not _is_list(cells.type):
        raise ValueError(
            f"expected a list of numbers, got {shortened(str(cells.type), 100)} (media files are no features); choose "
            "the column of the features with --audio-key or --face-key"
        )
    shape: list[int] = []
    while _is_list(cells.type):
        fixed = pyarrow.types.is_fixed_size_list(cells.type)
        lengths = {cells.type.list_size} if fixed else set(cells.value_lengths().to_pylist())
        if len(lengths) > 1 or cells.null_count:
            raise ValueError("expected frames of one width, got lists of different lengths")
        shape += lengths or {0}
        cells = cells.flatten()
    return np.asarray(cells.to_numpy(zero_copy_only=False)).reshape(shape)


def _is_list(kind: Any) -> bool:
    return any(
        test(kind) for test in (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    )
