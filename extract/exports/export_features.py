"""`foal export-features`: the streams of feats.h5 as files that other tools and `foal import` read."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...shared.config.settings import modality_of
from ...shared.errors import StoreError, UsageError
from ...shared.files.folders import folder_written_atomically
from ...shared.store.feature_store import FeatureStore
from ...shared.text import quoted

Format = Literal["npy", "parquet", "datasets"]
COLUMNS = {"audio": "audio", "face": "face", "text": "text_features"}
"""The column of each modality, as `foal import --format datasets` reads it."""
ROWS_AT_ONCE = 256


def export_features(index: Path, out: Path, *, file_format: Format) -> list[Path]:
    """Write each stream of an index into a folder of its own, such as out/audio and out/face-clip.

    Frames without data are written as NaN. Utterances without a modality have an empty array.

    Args:
        index: feats.h5.
        out: a new folder.
        file_format: npy (ID.npy per utterance), parquet, or datasets (an Arrow file).

    Returns:
        The folders of the streams.

    Raises:
        UsageError: `out` exists, or PyArrow is not installed.
        StoreError: features cannot be read, have several layers, or an id cannot be the name of a file.
    """
    if out.exists():
        raise UsageError(f"{out}: exists; choose another folder with --out")
    if file_format != "npy":
        _require_pyarrow(file_format)
    with FeatureStore(index) as store, folder_written_atomically(out) as work:
        for name, stream in store.streams.items():
            if len(stream.frame_shape) > 1:
                raise StoreError(
                    f"{index}: expected frames of shape (width,), got {stream.frame_shape} in the stream {name}, which "
                    "has several layers; extract it with one layer or their mean"
                )
            folder = work / _folder_name(name)
            folder.mkdir()
            if file_format == "npy":
                _write_npy(store, name, folder)
            else:
                _write_arrow(store, name, folder, file_format)
        return [out / _folder_name(name) for name in store.streams]


def _folder_name(stream: str) -> str:
    return stream.replace("/", "-")


def _require_pyarrow(file_format: str) -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UsageError(
            f"--format {file_format}: expected the package pyarrow, which is not installed; install foal with the "
            "extra datasets (pip install -e '.[datasets]')"
        ) from None


def _arrays(store: FeatureStore, name: str, rows: Sequence[int]) -> Iterator[NDArray[Any]]:
    """The arrays (t, width) of some utterances, NaN in frames without data."""
    packed = store.packed(name, rows)
    packed.values[~packed.valid] = np.nan
    for first, last in zip(packed.offsets[:-1], packed.offsets[1:], strict=True):
        yield packed.values[first:last]


def _blocks(store: FeatureStore) -> Iterator[Sequence[int]]:
    for first in range(0, len(store), ROWS_AT_ONCE):
        yield range(first, min(first + ROWS_AT_ONCE, len(store)))


def _write_npy(store: FeatureStore, name: str, folder: Path) -> None:
    for rows in _blocks(store):
        for row, array in zip(rows, _arrays(store, name, rows), strict=True):
            utterance_id = store.utterances[row].id
            path = folder / f"{utterance_id}.npy"
            if ".." in Path(utterance_id).parts or Path(utterance_id).is_absolute():
                raise StoreError(f"{store.path}: expected ids that can be names of files, got {quoted(utterance_id)}")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array, allow_pickle=False)


def _write_arrow(store: FeatureStore, name: str, folder: Path, file_format: Format) -> None:
    import pyarrow
    import pyarrow.parquet

    width = store.streams[name].width
    frames = pyarrow.list_(pyarrow.list_(pyarrow.float32(), width))
    schema = pyarrow.schema([("id", pyarrow.string()), (COLUMNS[modality_of(name)], frames)])
    if file_format == "parquet":
        writer = pyarrow.parquet.ParquetWriter(folder / "features.parquet", schema)
    else:
        writer = pyarrow.ipc.new_stream(folder / "features.arrow", schema)
    with writer:
        for rows in _blocks(store):
            arrays = list(_arrays(store, name, rows))
            offsets = np.cumsum([0, *(len(array) for array in arrays)]).astype(np.int32)
            flat = pyarrow.array(np.concatenate(arrays).astype(np.float32).reshape(-1))
            inner = pyarrow.FixedSizeListArray.from_arrays(flat, width)
            cells = pyarrow.ListArray.from_arrays(pyarrow.array(offsets), inner, type=frames)
            ids = pyarrow.array([store.utterances[row].id for row in rows])
            writer.write_batch(pyarrow.RecordBatch.from_arrays([ids, cells], schema=schema))
