"""`foal import` refuses invalid feature files, and does not replace foreign files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import DTypeLike

from foal.shared.errors import StoreError, UsageError
from foal.shared.hdf5.opening import FutureError
from foal.shared.hdf5.seal import write_seal
from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.shard import ShardReader
from foal.shared.utterance import Utterance
from foal.tests.verification import verify_target

RunImport = Callable[..., Path]


@pytest.fixture
def manifest(tmp_path: Path, sample_utterances: list[Utterance]) -> Path:
    """A manifest of eighteen utterances of one second each."""
    write_manifest(tmp_path / "m.csv", sample_utterances)
    return tmp_path / "m.csv"


def write_arrays(folder: Path) -> Path:
    folder.mkdir()
    for number in range(18):
        np.save(folder / f"u{number}.npy", np.full((49, 6), number, np.float32))
    return folder


def write_text_file(path: Path) -> None:
    path.write_text("a text file that was given the wrong name\n" * 20)


def write_truncated(path: Path) -> None:
    np.save(path, np.ones((30, 6)))
    path.write_bytes(path.read_bytes()[:-5])


def write_invalid_header(path: Path) -> None:
    np.save(path, np.ones((30, 6)))
    path.write_bytes(path.read_bytes().replace(b"(30", b"(3("))


def write_archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, np.ones((30, 6)))


def write_nested_signs(path: Path) -> None:
    write_header(path, "-" * 9000 + "1\n")


def write_nested_sums(path: Path) -> None:
    write_header(path, "+".join(["1"] * 4000) + "\n")


def write_header(path: Path, text: str) -> None:
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())


def array_writer(values: Any, dtype: DTypeLike | None = None) -> Callable[[Path], None]:
    return lambda path: np.save(path, np.array(values, dtype))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (write_text_file, r"expected a complete \.npy file of numbers"),
        (Path.touch, r"expected a complete \.npy file of numbers"),
        (write_truncated, r"expected a complete \.npy file of numbers"),
        (write_invalid_header, r"expected a complete \.npy file of numbers"),
        (write_nested_signs, r"expected a complete \.npy file of numbers, got one with a header .* nested too deeply"),
        (write_nested_sums, r"expected a complete \.npy file of numbers, got one with a header .* nested too deeply"),
        (write_archive, r"expected a complete \.npy file of numbers"),
        (array_writer([{"a": 1}], object), "Python objects"),
        (array_writer(["a", "b"]), "expected an array of numbers, got one of type <U1"),
        (array_writer([[1j] * 6]), "of type complex128"),
        (array_writer([[True] * 6]), "of type bool"),
        (array_writer(3.0), r"expected an array of shape \(width,\) or \(frames, width\), got \(\)"),
        (array_writer([[[1.0] * 6]]), r"got \(1, 1, 6\)"),
        (array_writer([[1.0, np.nan] * 3]), r"NaN or infinite ones in 1 of 1 frames; .*--nan invalid"),
        (array_writer([[1.0, -np.inf] * 3], np.float16), "NaN or infinite"),
        (array_writer([[1.0, -7e4] * 3]), r"too large for float16 \(70000\); set extract\.dtype to float32"),
        (array_writer([[1.0] * 7]), r"expected 6 numbers per frame as in .*u0\.npy, got 7"),
    ],
)
def test_an_invalid_file_is_reported_before_anything_is_written(
    manifest: Path, tmp_path: Path, damage: Callable[[Path], None], message: str, run_import: RunImport
) -> None:
    audio, face = write_arrays(tmp_path / "audio"), write_arrays(tmp_path / "face")
    (face / "u13.npy").unlink()
    damage(face / "u13.npy")
    with pytest.raises(StoreError, match=message) as caught:
        run_import(tmp_path / "out", audio, face)
    assert str(face / "u13.npy") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def imported(manifest: Path, tmp_path: Path, run_import: RunImport) -> dict[Path, bytes]:
    """The files of an audio import into out/. The source arrays are changed afterwards."""
    run_import(tmp_path / "out", write_arrays(tmp_path / "audio"))
    for path in (tmp_path / "audio").iterdir():
        np.save(path, np.load(path) + 1)
    return written(tmp_path / "out")


def written(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob("*.h5") if path.is_file()}


def make_newer(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["version"] = file.attrs["version"] + 1
    write_seal(path)


def test_a_file_at_the_index_path_is_not_replaced(
    manifest: Path,
    tmp_path: Path,
    imported: dict[Path, bytes],
    run_import: RunImport,
) -> None:
    index = tmp_path / "out" / "feats.h5"
    index.write_text("notes of mine")
    with pytest.raises(UsageError, match=r"feats\.h5: exists and is not a feats\.h5; .*--force"):
        run_import(tmp_path / "out", tmp_path / "audio")
    assert written(tmp_path / "out") == {**imported, index: b"notes of mine"}


@pytest.mark.parametrize("newer", ["index", "shard", "other shard"])
def test_files_of_newer_versions_are_refused_before_anything_is_written(
    manifest: Path, tmp_path: Path, imported: dict[Path, bytes], newer: str, run_import: RunImport
) -> None:
    out = tmp_path / "out"
    # In the last split, to check that no earlier split is written.
    shard = sorted(out.glob("session3/audio-*/*.h5"))[0]
    path = {"index": out / "feats.h5", "shard": shard, "other shard": shard.with_name("other.h5")}[newer]
    if newer == "other shard":
        path.write_bytes(shard.read_bytes())
    make_newer(path)
    before = written(out)
    with pytest.raises(FutureError, match=rf"{path}: .* update foal"):
        run_import(out, tmp_path / "audio")
    assert written(out) == before


def test_files_that_are_not_shards_of_the_import_are_kept(
    manifest: Path,
    tmp_path: Path,
    imported: dict[Path, bytes],
    run_import: RunImport,
) -> None:
    out = tmp_path / "out"
    (old,) = out.glob("session1/audio-*/*.h5")
    folder = old.parent
    (folder / "notes.h5").write_text("notes of mine")
    (folder / "folder.h5").mkdir()
    with h5py.File(folder / "results.h5", "w") as file:
        file["x"] = np.arange(9)
    # A copy of a shard of another configuration, and a link to it.
    run_import(tmp_path / "named", tmp_path / "audio", name="other")
    (other,) = tmp_path.glob("named/session1/audio-*/*.h5")
    (folder / "copy.h5").write_bytes(other.read_bytes())
    (folder / "link.h5").symlink_to(other)
    foreign = {path: path.read_bytes() for path in folder.glob("[cnrl]*.h5")}
    assert len(foreign) == 4

    # The name of a shard depends on its utterances.
    (tmp_path / "audio" / "u0.npy").unlink()
    run_import(out, tmp_path / "audio")
    assert {path: path.read_bytes() for path in foreign} == foreign
    assert (folder / "folder.h5").is_dir()
    assert not old.exists()
    (new,) = {path for path in folder.glob("*.h5") if path.is_file()} - foreign.keys()
    with ShardReader(new) as shard:
        assert shard.ids == ["u3", "u6", "u9", "u12", "u15"]
    with FeatureStore(out / "feats.h5") as store:
        assert len(store) == 17


def test_a_file_at_a_shard_path_is_refused_before_anything_is_written(
    manifest: Path, tmp_path: Path, imported: dict[Path, bytes], run_import: RunImport
) -> None:
    out = tmp_path / "out"
    (path,) = out.glob("session3/audio-*/*.h5")
    path.unlink()
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(9)
    before = written(out)
    with pytest.raises(UsageError, match=rf"{path}: exists and is not a shard of an earlier import; .*--force"):
        run_import(out, tmp_path / "audio")
    assert written(out) == before
    run_import(out, tmp_path / "audio", force=True)
    assert verify_target(out)[1] == []


def test_damaged_shards_of_an_earlier_import_are_replaced_or_removed(
    manifest: Path, tmp_path: Path, imported: dict[Path, bytes], run_import: RunImport
) -> None:
    out = tmp_path / "out"
    for path in out.glob("session*/audio-*/*.h5"):
        path.write_bytes(path.read_bytes()[:-100])
    (out / "feats.h5").write_bytes((out / "feats.h5").read_bytes()[:-100])
    (tmp_path / "audio" / "u0.npy").unlink()
    run_import(out, tmp_path / "audio")
    assert len(written(out)) == len(imported)
    assert verify_target(out)[1] == []
