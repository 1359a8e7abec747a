"""Hugging Face datasets on disk: Arrow files in both formats, Parquet, and cells of any list type."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foal.shared.errors import StoreError, UsageError
from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

pa = pytest.importorskip("pyarrow", minversion="15")

MANIFEST = [Utterance(id=f"u{number}", corpus="c", label=("hap", "sad")[number % 2]) for number in range(6)]
FRAMES = [np.arange(6 * (number + 1), dtype=np.float32).reshape(-1, 3) + 1 for number in range(6)]


def write(path: Path, columns: dict[str, Any], kind: str = "stream") -> Path:
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if kind == "parquet":
        parquet.write_table(table, path)
        return path
    open_format = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with open_format(str(path), table.schema) as writer:
        # Several batches, as in large datasets.
        writer.write_table(table, max_chunksize=2)
    return path


def lists(kind: Any, frames: list[Any]) -> Any:
    return pa.array([None if cell is None else cell.tolist() for cell in frames], kind)


def reader(folder: Path, modality: str = "audio", **keys: str | None) -> Any:
    from foal.extract.imports.dataset_folder import DatasetFolder

    return DatasetFolder(modality, folder, MANIFEST, key=keys.get("key"), id_key=keys.get("id_key"))


@pytest.mark.parametrize("kind", ["stream", "file", "parquet"])
def test_all_splits_are_read(tmp_path: Path, kind: str) -> None:
    suffix = "parquet" if kind == "parquet" else "arrow"
    cells = lists(pa.list_(pa.list_(pa.float32())), FRAMES)
    for split, rows in (("train", slice(0, 4)), ("test", slice(4, 6))):
        path = tmp_path / "d" / split / f"data-00000-of-00001.{suffix}"
        write(path, {"id": [u.id for u in MANIFEST[rows]], "label": [0] * len(cells[rows]), "audio": cells[rows]}, kind)
    (tmp_path / "d" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    write(tmp_path / "d" / "train" / f"cache-0.{suffix}", {"other": [1]}, kind)
    found = reader(tmp_path / "d")
    assert list(found.ids) == [u.id for u in MANIFEST]
    for utterance, frames in zip(MANIFEST, FRAMES, strict=True):
        np.testing.assert_array_equal(found.read(utterance.id), frames)
    assert found.where("u3") == f"{tmp_path / 'd'}, column audio, id 'u3'"


@pytest.mark.parametrize(
    "kind",
    ["list(list)", "list(fixed)", "large(large)", "list(list) float16", "list(list) float64", "extension"],
)
def test_cells_of_every_list_type_are_read(tmp_path: Path, kind: str) -> None:
    types = {
        "list(list)": pa.list_(pa.list_(pa.float32())),
        "list(fixed)": pa.list_(pa.list_(pa.float32(), 3)),
        "large(large)": pa.large_list(pa.large_list(pa.float32())),
        "list(list) float64": pa.list_(pa.list_(pa.float64())),
        "extension": pa.list_(pa.list_(pa.float32())),
        "list(list) float16": pa.list_(pa.list_(pa.float32())),
    }
    cells = lists(types[kind], FRAMES)
    if kind == "list(list) float16":
        cells = cells.cast(pa.list_(pa.list_(pa.float16())))
    field = pa.field("face", cells.type)
    if kind == "extension":
        # As `datasets` stores an Array2D; the type is unknown without that package.
        metadata = {"ARROW:extension:name": "datasets.features.features.Array2DExtensionType"}
        field = field.with_metadata(metadata | {"ARROW:extension:metadata": '[[null, 3], "float32"]'})
    path = tmp_path / "d" / "data.arrow"
    path.parent.mkdir()
    table = pa.Table.from_arrays(
        [pa.array([u.id for u in MANIFEST]), cells], schema=pa.schema([("id", pa.string()), field])
    )
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)
    found = reader(tmp_path / "d", "face")
    for utterance, frames in zip(MANIFEST, FRAMES, strict=True):
        np.testing.assert_array_equal(found.read(utterance.id), frames)


def test_vectors_and_empty_cells_are_imported(tmp_path: Path, run_import: Callable[..., Path]) -> None:
    write_manifest(tmp_path / "m.csv", MANIFEST)
    cells = [np.full(3, number + 1.0) for number in range(6)]
    write(tmp_path / "d" / "a.arrow", {"id": [u.id for u in MANIFEST], "vision": lists(pa.list_(pa.float32()), cells)})
    cells[1:3] = [None, np.zeros(0)]  # type: ignore[list-item]
    write(
        tmp_path / "e" / "a.parquet",
        {"clip": [u.id for u in MANIFEST], "x": lists(pa.list_(pa.float32()), cells)},
        "parquet",
    )
    run_import(tmp_path / "out", face=tmp_path / "d", file_format="datasets")
    keys = {"audio": "x", "id": "clip"}
    index = run_import(tmp_path / "out", tmp_path / "e", file_format="datasets", keys=keys)
    with FeatureStore(index) as store:
        assert store.lengths("audio").tolist() == [1, 0, 0, 1, 1, 1]
        assert store.notes("audio")[1:3] == ["empty array in e"] * 2
        assert store.read("face", 4)[0].tolist() == [[5.0] * 3]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["u0"], "text": ["a"]}, r"expected a column audio, got id, text; choose one with --audio-key"),
        ({"name": ["u0"], "audio": [[1.0]]}, r"expected a column id, got name, audio; choose one with --id-key"),
        ({"id": ["x"], "audio": [[1.0]]}, r"expected ids of the manifest, such as u0, u1, u2; got x; .*--id-key"),
        ({"id": ["u0", "u0"], "audio": [[1.0], [1.0]]}, r"expected unique ids, got 'u0' again in row 1"),
        ({"id": ["u0", None], "audio": [[1.0], [1.0]]}, r"expected an id in every row, got none in row 1"),
        ({"id": ["u0"], "audio": [{"bytes": b"", "path": "a.wav"}]}, r"id 'u0': expected a list .* got struct"),
        ({"id": ["u0"], "audio": [[[1.0], [1.0, 2.0]]]}, r"id 'u0': expected frames of one width"),
        ({"id": ["u0"], "audio": [[[1.0], None]]}, r"id 'u0': expected frames of one width"),
    ],
)
def test_datasets_that_do_not_fit_are_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    write(tmp_path / "d" / "a.arrow", columns)
    with pytest.raises((StoreError, UsageError), match=message):
        reader(tmp_path / "d").read("u0")


@pytest.mark.parametrize("suffix", ["arrow", "parquet"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a complete Arrow or Parquet file"),
        (b"no table" * 40, "expected a complete Arrow or Parquet file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, suffix: str, content: bytes, message: str) -> None:
    path = tmp_path / "d" / f"a.{suffix}"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"a\.{suffix}: {message}") as caught:
        reader(tmp_path / "d")
    assert "\n" not in str(caught.value)


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a folder with \.arrow or \.parquet files, got none"):
        reader(tmp_path)
