"""The main flow of `foal extract` on media files, with Dask workers."""

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.store.catalog import CATALOG_NAME
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.shard import ShardReader

pytestmark = pytest.mark.slow

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def extracted(foal_in: Foal, synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the manifest, shards and index of the first two sessions of the synthetic corpus; read-only."""
    folder = tmp_path_factory.mktemp("extracted")
    assert foal_in(folder, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    selection = ["--split", "session1,session2", "-m", "m.csv", "-r", str(synthetic_corpus)]
    done = foal_in(folder, "extract", *selection, "-j", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    return folder


def all_values(features: Path) -> dict[Path, bytes]:
    values = {}
    for path in sorted(features.rglob("*.h5")):
        with h5py.File(path) as file:
            values[path.relative_to(features)] = file["values"][:].tobytes()
    return values


def test_every_utterance_has_both_modalities(extracted: Path) -> None:
    expected = [u for u in read_manifest(extracted / "m.csv") if u.split in ("session1", "session2")]
    with FeatureStore(extracted / "feats.h5") as store:
        assert list(store.utterances) == expected
        assert store.random_weights
        for row, utterance in enumerate(expected):
            seconds = utterance.seconds or 0.0
            assert abs(store.lengths("audio")[row] - ((seconds * 16000 - 400) // 320 + 1)) <= 1
            assert store.lengths("face")[row] == max(1, int(seconds * 10 + 0.5))
        assert store.valid_frames("face").sum() >= 0.95 * store.lengths("face").sum()
        assert (store.valid_frames("audio") == store.lengths("audio")).all()


def test_shards_record_their_configuration(extracted: Path) -> None:
    for path in (extracted / "features").rglob("*.h5"):
        with h5py.File(path) as file:
            for name in (
                "format",
                "version",
                "modality",
                "config",
                "encoder",
                "weights",
                "versions",
                "command",
                "rate_hz",
            ):
                assert name in file.attrs
            assert path.parent.name == f"{file.attrs['modality'].decode()}-{file.attrs['config_hash'].decode()[:8]}"
            assert b"foal extract --split session1,session2" in file.attrs["command"]
        with ShardReader(path) as shard:
            assert all(media for media in shard.media)


def test_a_second_run_changes_nothing_and_prints_its_result_as_json(
    foal_in: Foal, extracted: Path, synthetic_corpus: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in extracted.rglob("*.h5")}
    done = foal_in(extracted, "extract", "--split", "session1", "-m", "m.csv", "-r", synthetic_corpus, "--json")
    assert done.returncode == 0
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["splits"], result["streams"], result["index"]) == (["session1"], ["audio", "face"], "feats.h5")
    assert (result["extracted"], result["skipped"], result["failed"]) == (0, result["utterances"], 0)
    assert "All features are up to date." in done.stdout
    assert {path: path.stat().st_mtime_ns for path in extracted.rglob("*.h5")} == before


@pytest.mark.parametrize(
    "selection", [["--split", "all"], ["--split", "session1"], ["--split", "all", "--streams", "audio"]]
)
def test_a_run_with_nothing_to_do_opens_each_shard_once_and_none_where_the_catalog_agrees(
    foal_in: Foal, extracted: Path, synthetic_corpus: Path, monkeypatch: pytest.MonkeyPatch, selection: list[str]
) -> None:
    # The manifest contains only the extracted sessions.
    rows = [u for u in read_manifest(extracted / "m.csv") if u.split in ("session1", "session2")]
    write_manifest(extracted / "two.csv", rows)
    opened: Counter[str] = Counter()
    open_file = h5py.h5f.open

    def counting_open(name: bytes, *arguments: Any, **options: Any) -> Any:
        opened[os.fsdecode(name)] += 1
        return open_file(name, *arguments, **options)

    monkeypatch.setattr(h5py.h5f, "open", counting_open)
    shards = {path.relative_to(extracted).as_posix() for path in extracted.glob("features/*/*/*.h5")}
    assert len(shards) > 2
    for path in extracted.glob(f"features/*/*/{CATALOG_NAME}"):
        path.unlink()
    for opens in (1, 0):
        opened.clear()
        done = foal_in(extracted, "extract", *selection, "-m", "two.csv", "-r", synthetic_corpus)
        assert done.returncode == 0, done.stderr
        assert "All features are up to date." in done.stdout
        assert {shard: opened[shard] for shard in shards} == dict.fromkeys(shards, opens)
    opened.clear()
    done = foal_in(extracted, "index", "-m", "two.csv", "-r", synthetic_corpus)
    assert done.returncode == 0, done.stderr
    assert {shard: opened[shard] for shard in shards} == dict.fromkeys(shards, 0)


def test_deleted_and_damaged_shards_are_restored_identically(
    foal_in: Foal, extracted: Path, synthetic_corpus: Path, tmp_path: Path, scheduler: str
) -> None:
    copy = Path(shutil.copytree(extracted, tmp_path / "copy"))
    features = copy / "features"
    before = all_values(features)
    for pattern in ("session1/audio-*/*.h5", "session2/face-*/*.h5"):
        sorted(features.glob(pattern))[0].unlink()
    broken = next(features.glob("session1/face-*")) / "broken.h5"
    broken.write_text("not HDF5")
    damaged = sorted(features.glob("session2/audio-*/*.h5"))[0]
    with h5py.File(damaged, "r+") as file:
        file["values"][3] += 1
    verified = foal_in(copy, "verify", "features")
    assert verified.returncode == 1
    assert damaged.name in verified.stdout
    selection = ["--split", "session1", "--split", "session2"]
    workers = ["--scheduler", scheduler, "--threads", "1"]
    done = foal_in(copy, "extract", *selection, "-m", "m.csv", "-r", synthetic_corpus, *workers)
    assert done.returncode == 0, done.stderr
    assert "broken.h5" in done.stdout
    assert damaged.name in done.stdout
    broken.unlink()
    assert all_values(features) == before
    assert foal_in(copy, "verify").returncode == 0


def test_one_worker_of_a_running_scheduler_gives_the_same_features(
    foal_here: Foal, extracted: Path, synthetic_corpus: Path, tmp_path: Path, scheduler: str
) -> None:
    options = ["-s", "session1", "-m", extracted / "m.csv", "-r", synthetic_corpus, "--features-dir", "f"]
    done = foal_here("extract", *options, "--scheduler", scheduler)
    assert done.returncode == 0, done.stderr
    assert f"on the workers of {scheduler}" in done.stdout
    assert_nearly_equal(tmp_path / "f" / "feats.h5", extracted / "feats.h5")


def assert_nearly_equal(subset: Path, complete: Path) -> None:
    """The order of summation depends on the number of threads, so the last bit in half precision may differ."""
    with FeatureStore(subset) as first, FeatureStore(complete) as second:
        rows = list(range(len(first)))
        assert first.utterances == second.utterances[: len(first)]
        assert list(first.streams) == list(second.streams) == ["audio", "face"]
        for modality in first.streams:
            actual, expected = first.packed(modality), second.packed(modality, rows)
            np.testing.assert_array_equal(actual.offsets, expected.offsets)
            np.testing.assert_array_equal(actual.valid, expected.valid)
            np.testing.assert_allclose(actual.values.astype(float), expected.values.astype(float), rtol=0.01, atol=1e-3)
            error = np.linalg.norm(actual.values.astype(np.float64) - expected.values.astype(np.float64))
            assert error <= 1e-3 * np.linalg.norm(expected.values.astype(np.float64))


def test_a_changed_setting_extracts_only_its_modality_again(
    foal_in: Foal, extracted: Path, synthetic_corpus: Path, tmp_path: Path, scheduler: str
) -> None:
    shutil.copytree(extracted, tmp_path / "copy")
    options = ["--split", "session1", "-m", "m.csv", "-r", synthetic_corpus, "--fps", "5", "--scheduler", scheduler]
    done = foal_in(tmp_path / "copy", "extract", *options)
    assert done.returncode == 0, done.stderr
    assert "audio" in done.stdout
    assert len(list((tmp_path / "copy").glob("features/session1/audio-*"))) == 1
    assert len(list((tmp_path / "copy").glob("features/session1/face-*"))) == 2
    with FeatureStore(tmp_path / "copy" / "feats.h5") as store:
        assert {utterance.split for utterance in store.utterances} == {"session1"}
        assert store.streams["face"].rate_hz == 5
