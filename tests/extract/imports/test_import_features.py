"""`foal import` converts folders of .npy files to features for training."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foal.extract.imports.import_features import MAX_SHARD_BYTES
from foal.shared.errors import StoreError, UsageError
from foal.shared.files.atomic import temporary_name
from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.shard import ShardReader
from foal.shared.utterance import Utterance
from foal.tests.verification import verify_target

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
RunImport = Callable[..., Path]


@pytest.fixture
def manifest(tmp_path: Path, sample_utterances: list[Utterance]) -> Path:
    """A manifest of eighteen utterances in three sessions; the second half starts at 2 s of its media."""
    utterances = [
        replace(u, start=None if i < 9 else 2.0, end=1.0 if i < 9 else 4.0) for i, u in enumerate(sample_utterances)
    ]
    write_manifest(tmp_path / "m.csv", utterances)
    return tmp_path / "m.csv"


def write_arrays(folder: Path, manifest: Path, *, rate_hz: int = 50, width: int = 6, seed: int = 0) -> Path:
    """Write an array of shape (frames, width) per utterance."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for u in read_manifest(manifest):
        frames = max(1, round((u.seconds or 1.0) * rate_hz) - 1)
        np.save(folder / f"{u.id}.npy", rng.normal(size=(frames, width)).astype(np.float32))
    return folder


def stored(index: Path, stream: str) -> dict[str, np.ndarray]:
    with FeatureStore(index) as store:
        return {u.id: store.packed(stream, [row]).values for row, u in enumerate(store.utterances)}


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_sequences_of_both_modalities_are_imported(
    manifest: Path,
    tmp_path: Path,
    messages: pytest.LogCaptureFixture,
    run_import: RunImport,
) -> None:
    folders = {
        "audio": write_arrays(tmp_path / "hubert", manifest, rate_hz=50, width=6),
        "face": write_arrays(tmp_path / "clip", manifest, rate_hz=25, width=4, seed=1),
    }
    run_import(tmp_path / "out", **folders, rates={"face": 24.0})
    printed = messages.text
    assert "audio: 50 frames per second, estimated from 18 utterances (49 to 49.5)" in printed
    assert "18 utterances; audio: width 6, 50 Hz, 1,332 frames of 18 utterances; face: width 4, 24 Hz" in printed
    for stream, folder in folders.items():
        for name, values in stored(tmp_path / "out" / "feats.h5", stream).items():
            np.testing.assert_array_equal(values, np.load(folder / f"{name}.npy").astype(np.float16))
    with FeatureStore(tmp_path / "out" / "feats.h5") as store:
        assert list(store.utterances) == read_manifest(manifest)
        assert {name: stream.rate_hz for name, stream in store.streams.items()} == {"audio": 50.0, "face": 24.0}
        assert store.provenance()["audio"]["encoder"] == "imported"
        assert not store.random_weights
        assert (store.valid_frames("audio") == store.lengths("audio")).all()
    for path in (tmp_path / "out").glob("*/audio-*/*.h5"):
        with ShardReader(path) as shard:
            assert path.parent.name == f"audio-{shard.header.config_hash[:8]}"
            assert shard.header.config == {"provenance": "imported", "width": 6, "rate_hz": 50.0, "dtype": "float16"}
            starts = [0.0 if int(name[1:]) < 9 else 2.0 for name in shard.ids]
            assert shard.origins.tolist() == [start + 0.01 for start in starts]
            assert set(shard.media) == {""}
    assert verify_target(tmp_path / "out")[1] == []
    assert verify_target(tmp_path / "out" / "feats.h5")[1] == []


@pytest.mark.parametrize("shape", [(5,), (1, 5)])
def test_single_vectors_are_imported(
    manifest: Path,
    tmp_path: Path,
    shape: tuple[int, ...],
    run_import: RunImport,
) -> None:
    (tmp_path / "clip").mkdir()
    for number in range(18):
        np.save(tmp_path / "clip" / f"u{number}.npy", np.full(shape, number + 1 / 3))
    # Single vectors need no utterance ends.
    write_manifest(manifest, [replace(u, end=None) for u in read_manifest(manifest)])
    run_import(tmp_path / "out", face=tmp_path / "clip", name="clip", dtype="float32")
    values = stored(tmp_path / "out" / "feats.h5", "face/clip")
    assert {name: row.tolist() for name, row in values.items()} == {
        f"u{n}": [[float(np.float32(n + 1 / 3))] * 5] for n in range(18)
    }
    with FeatureStore(tmp_path / "out" / "feats.h5") as store:
        assert list(store.streams) == ["face/clip"]
        assert store.streams["face/clip"].rate_hz == 1.0
        assert store.streams["face/clip"].dtype == "float32"


@pytest.mark.parametrize("dtype", ["float16", ">f4", "float64", "int64", "uint8"])
def test_every_number_type_is_imported(manifest: Path, tmp_path: Path, dtype: str, run_import: RunImport) -> None:
    (tmp_path / "audio").mkdir()
    expected = np.asfortranarray(np.arange(12).reshape(4, 3).astype(dtype))
    np.save(tmp_path / "audio" / "u3.npy", expected)
    run_import(tmp_path / "out", audio=tmp_path / "audio", rates={"audio": 4.0})
    np.testing.assert_array_equal(stored(tmp_path / "out" / "feats.h5", "audio")["u3"], expected.astype(np.float16))


def test_missing_utterances_are_reported(
    manifest: Path,
    tmp_path: Path,
    messages: pytest.LogCaptureFixture,
    run_import: RunImport,
) -> None:
    audio = write_arrays(tmp_path / "hubert", manifest)
    face = write_arrays(tmp_path / "clip", manifest, rate_hz=10)
    (audio / "u1.npy").rename(audio / "other.npy")
    for number in range(2, 10):
        (face / f"u{number}.npy").unlink()
    (audio / "u4.npy").unlink()
    run_import(tmp_path / "out", audio, face)
    printed = messages.text
    assert f"audio: 1 files of {audio} belong to no utterance of the manifest" in printed
    assert f"skipped, because not in {audio} or {face}: 1 utterance (u4)" in printed
    assert f"without audio, because not in {audio}: 1 utterance (u1)" in printed
    assert f"without face, because not in {face}: 7 utterances (u2, u3, u5, u6, u7, ...)" in printed
    with FeatureStore(tmp_path / "out" / "feats.h5") as store:
        assert len(store) == 17
        row = [u.id for u in store.utterances].index("u1")
        assert (store.lengths("audio")[row], store.notes("audio")[row]) == (0, "not in hubert")
        assert (store.lengths("face")[row], store.notes("face")[row]) == (9, "")
        assert store.notes("face").count("not in clip") == 7
    assert verify_target(tmp_path / "out")[1] == []

    with pytest.raises(UsageError, match=r"such as u0\.npy, u1\.npy, u2\.npy; got no \.npy file$"):
        run_import(tmp_path / "none", tmp_path / "out")
    for number in range(4):
        (tmp_path / "out" / f"v{number}.npy").touch()
    with pytest.raises(UsageError, match=r"got v0\.npy, v1\.npy, v2\.npy$"):
        run_import(tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "none").exists()


def test_ids_with_slashes_only_match_files_in_the_folder(tmp_path: Path, run_import: RunImport) -> None:
    folder = tmp_path / "audio"
    (folder / "a" / "b").mkdir(parents=True)
    for name in ("a/b/one", "a/two", "../outside", "sound"):
        np.save(folder / f"{name}.npy", np.ones(3))
    absolute = (tmp_path / "outside").as_posix()
    ids = ["a/b/one", r"a\two", "../outside", "a/../../outside", r"..\outside", absolute, "sound", "x" * 300]
    write_manifest(tmp_path / "m.csv", [Utterance(id=name, corpus="c", audio="a.wav") for name in ids])
    run_import(tmp_path / "out", folder)
    assert list(stored(tmp_path / "out" / "feats.h5", "audio")) == ["a/b/one", r"a\two", "sound"]


def test_a_second_import_replaces_the_first(manifest: Path, tmp_path: Path, run_import: RunImport) -> None:
    out, index = tmp_path / "out", tmp_path / "out" / "feats.h5"
    folder = write_arrays(tmp_path / "audio", manifest)
    run_import(out, folder)
    before, first = files_below(out), stored(index, "audio")
    run_import(out, folder)
    assert files_below(out).keys() == before.keys()
    assert index.read_bytes() == before[index]

    leftover = temporary_name(next(out.glob("*/*/*.h5")))
    leftover.touch()
    write_arrays(tmp_path / "audio", manifest, seed=1)
    (folder / "u0.npy").unlink()
    run_import(out, folder)
    second = stored(index, "audio")
    assert second.keys() == first.keys() - {"u0"}
    assert all(not np.array_equal(second[name], first[name]) for name in second)
    # The number of shards is unchanged, but one has another name.
    assert len(files_below(out)) == len(before)
    assert verify_target(out)[1] == []

    # Named features do not replace other features of the same width.
    for name in ("one", "two"):
        run_import(out, folder, name=name)
    assert len(list(out.glob("session1/audio-*"))) == 3
    assert set(stored(index, "audio/two")) == second.keys()


def test_a_large_import_is_cut_into_shards_in_the_order_of_the_manifest(tmp_path: Path, run_import: RunImport) -> None:
    names = [f"u{number}" for number in (3, 1, 2)]
    write_manifest(tmp_path / "m.csv", [Utterance(id=n, corpus="c", label="hap", audio=f"{n}.wav") for n in names])
    (tmp_path / "audio").mkdir()
    for name in names:
        np.save(tmp_path / "audio" / f"{name}.npy", np.ones((MAX_SHARD_BYTES // 2 // 1024, 512), np.float16))
    run_import(tmp_path / "out", tmp_path / "audio", rates={"audio": 50.0})
    contents = []
    for path in (tmp_path / "out").glob("*/audio-*/*.h5"):
        with ShardReader(path) as shard:
            contents.append(shard.ids)
    assert sorted(contents) == [["u2"], ["u3", "u1"]]


def test_float32_stores_values_that_are_too_large_for_float16(
    manifest: Path,
    tmp_path: Path,
    run_import: RunImport,
) -> None:
    folder = write_arrays(tmp_path / "audio", manifest)
    np.save(folder / "u5.npy", np.full((50, 6), 7e4))
    run_import(tmp_path / "out", folder, dtype="float32")
    assert stored(tmp_path / "out" / "feats.h5", "audio")["u5"].max() == 7e4
    np.save(folder / "u5.npy", np.full((50, 6), 1e39))
    with pytest.raises(StoreError, match=r"too large for float32 \(1e\+39\)$"):
        run_import(tmp_path / "out", folder, dtype="float32")


@pytest.mark.parametrize(
    ("frames", "rate_hz"),
    [(150, 50), (148, 50), (153, 50), (146, 49), (75, 25), (72, 24), (89, 30), (94, 31), (2, 0.6667), (22, 7.333)],
)
def test_the_rate_is_estimated_and_rounded(
    manifest: Path,
    tmp_path: Path,
    frames: int,
    rate_hz: float,
    run_import: RunImport,
) -> None:
    write_manifest(manifest, [replace(u, start=None, end=3.0) for u in read_manifest(manifest)])
    (tmp_path / "audio").mkdir()
    for number, extra in ((1, -1), (2, 0), (3, 40)):
        np.save(tmp_path / "audio" / f"u{number}.npy", np.ones((frames + extra, 2)))
    run_import(tmp_path / "out", tmp_path / "audio")
    with FeatureStore(tmp_path / "out" / "feats.h5") as store:
        assert store.streams["audio"].rate_hz == rate_hz


def test_a_rate_that_cannot_be_estimated_is_required(manifest: Path, tmp_path: Path, run_import: RunImport) -> None:
    folder = write_arrays(tmp_path / "audio", manifest)
    write_manifest(manifest, [replace(u, end=None) for u in read_manifest(manifest)])
    with pytest.raises(UsageError, match=r"has no end times for their utterances; .* with --audio-rate HZ"):
        run_import(tmp_path / "out", folder)
    assert not (tmp_path / "out").exists()
    run_import(tmp_path / "out", folder, rates={"audio": 12.5})
    with FeatureStore(tmp_path / "out" / "feats.h5") as store:
        assert store.streams["audio"].rate_hz == 12.5


@pytest.mark.slow
def test_imported_features_can_be_used_for_training(
    foal: Foal, foal_here: Foal, manifest: Path, tmp_path: Path
) -> None:
    write_arrays(tmp_path / "hubert", manifest)
    write_arrays(tmp_path / "clip", manifest, rate_hz=10)
    (tmp_path / "clip" / "u3.npy").unlink()
    done = foal("import", "--manifest", "m.csv", "--audio", "hubert", "--face", "clip", "-o", "out")
    assert done.returncode == 0, done.stderr
    for command in (["verify", "out"], ["verify", "out/feats.h5"], ["inspect", "out/feats.h5"]):
        done = foal_here(*command)
        assert done.returncode == 0, done.stdout
    assert "imported" in done.stdout
    assert "not in clip" in done.stdout
    settings = "{epochs: 2, width: 16, heads: 2, layers: 1, bootstrap: 50}"
    done = foal_here(
        "train", "--features", "out/feats.h5", "--set", f"train={settings}", "--device", "cpu", "--out", "run"
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["n"] == 18
    assert metrics["random_weights"] is False
    np.save(tmp_path / "clip" / "u4.npy", np.full((1, 6), np.nan))
    done = foal_here("import", "--manifest", "m.csv", "--face", "clip", "-o", "out")
    assert done.returncode == 1
    assert "clip/u4.npy: expected finite numbers" in done.stderr
    assert "Traceback" not in done.stderr
