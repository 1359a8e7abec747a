"""Catalogs from stored tables: trusted for unchanged shards, rebuilt for all others."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import pytest

from foal.shared.files.media_state import MediaFingerprints
from foal.shared.store.catalog import CATALOG_NAME, Catalog, read_catalog, read_shards, store_catalog
from foal.shared.store.catalog.catalog_file import read_catalog_file
from foal.shared.store.shard import ShardReader
from foal.shared.utterance import Utterance

KEY = "0" * 64
EditSealed = Callable[[Path], AbstractContextManager[h5py.File]]


@pytest.fixture
def features(tmp_path: Path, make_features: Callable[..., Path], sample_utterances: list[Utterance]) -> Path:
    """Audio shards of three sessions, one of which has two, with verified stored tables."""
    folder = make_features(tmp_path / "features", sample_utterances, widths={"audio": 4})
    shutil.copy2(folder / "session1/audio-00000000/shard.h5", folder / "session1/audio-00000000/copy.h5")
    store_catalog(read_catalog(folder, "audio", KEY, verify=True))
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each shard is opened."""
    counts: Counter[str] = Counter()
    read_tables = ShardReader._read_tables

    def counting(self: ShardReader, root: Any) -> None:
        counts[f"{self.path.parent.parent.name}/{self.path.name}"] += 1
        read_tables(self, root)

    monkeypatch.setattr(ShardReader, "_read_tables", counting)
    return counts


def locations(catalog: Catalog, utterances: list[Utterance]) -> list[object]:
    found = [catalog.find(utterance, "audio") for utterance in utterances]
    return [None if location is None else asdict(location) for location in found]


def tables(features: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(features.glob(f"*/*/{CATALOG_NAME}"))}


@pytest.mark.parametrize("verify", [False, True])
def test_unchanged_shards_are_not_opened(
    features: Path, sample_utterances: list[Utterance], opened: Counter[str], verify: bool
) -> None:
    before = tables(features)
    assert len(before) == 3
    stored = read_catalog(features, "audio", KEY, verify=verify)
    assert not opened
    store_catalog(stored)
    assert tables(features) == before
    for path in before:
        path.unlink()
    read = read_catalog(features, "audio", KEY, verify=verify)
    assert set(opened.values()) == {1}
    assert len(opened) == 4
    assert locations(stored, sample_utterances) == locations(read, sample_utterances)
    assert list(stored.shards) == list(read.shards)
    assert {info.header.encoder for info in stored.shards.values()} == {"random:test"}


def test_only_changed_new_and_damaged_shards_are_opened(
    features: Path, sample_utterances: list[Utterance], opened: Counter[str]
) -> None:
    touched, damaged = features / "session1/audio-00000000/copy.h5", features / "session2/audio-00000000/shard.h5"
    new = features / "session3/audio-00000000/new.h5"
    os.utime(touched, ns=(1, 1))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    shutil.copy2(new.with_name("shard.h5"), new)
    catalog = read_catalog(features, "audio", KEY)
    assert opened == {"session1/copy.h5": 1, "session3/new.h5": 1}
    assert set(catalog.damaged) == {damaged}
    assert [location is None for location in locations(catalog, sample_utterances[:3])] == [False, True, False]
    store_catalog(catalog)
    opened.clear()
    assert set(read_catalog(features, "audio", KEY).damaged) == {damaged}
    assert not opened
    # The removed shard leaves the table, too.
    new.unlink()
    catalog = read_catalog(features, "audio", KEY)
    assert not opened
    assert new not in catalog.shards
    assert locations(catalog, sample_utterances[2:3]) != [None]


@pytest.mark.parametrize("damage", ["damaged", "touched"])
def test_the_table_has_the_rows_of_a_shard_that_is_replaced(
    features: Path, sample_utterances: list[Utterance], damage: str
) -> None:
    """As `foal extract` does, which writes damaged shards again under the same name."""
    before, shard = read_catalog(features, "audio", KEY), features / "session1/audio-00000000/copy.h5"
    content = shard.read_bytes()
    for _ in range(2):
        if damage == "damaged":
            shard.write_bytes(content[:-1])
        else:
            os.utime(shard, ns=(0, os.stat(shard).st_mtime_ns + 1))
        catalog = read_catalog(features, "audio", KEY)
        shard.write_bytes(content)
        catalog.update(read_shards([shard], "audio", KEY, verified=True))
        store_catalog(catalog)
        assert len(read_catalog_file(shard.with_name(CATALOG_NAME)).rows) == 12
        assert locations(catalog, sample_utterances) == locations(before, sample_utterances)
    updated = tables(features)
    shard.with_name(CATALOG_NAME).unlink()
    store_catalog(read_catalog(features, "audio", KEY, verify=True))
    assert tables(features) == updated


def test_shards_that_were_not_verified_are_verified_once(features: Path, opened: Counter[str]) -> None:
    for path in tables(features):
        path.unlink()
    store_catalog(read_catalog(features, "audio", KEY))
    opened.clear()
    read_catalog(features, "audio", KEY)
    assert not opened
    store_catalog(read_catalog(features, "audio", KEY, verify=True))
    assert len(opened) == 4
    opened.clear()
    read_catalog(features, "audio", KEY, verify=True)
    # Tables read without verification keep what is known.
    store_catalog(read_catalog(features, "audio", KEY))
    read_catalog(features, "audio", KEY, verify=True)
    assert not opened
    # What a writer has just verified is not read again.
    paths = sorted(features.glob("session1/*/*.h5"))
    assert all(info.verified for info in read_shards(paths, "audio", KEY, verified=True).shards.values())
    assert not any(info.verified for info in read_shards(paths, "audio", KEY).shards.values())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [flip, lambda path: os.truncate(path, 3000), lambda path: path.write_bytes(b""), lambda path: path.unlink()],
    ids=["bit flip", "truncated", "empty", "lost"],
)
def test_a_damaged_table_is_rebuilt(
    features: Path, sample_utterances: list[Utterance], opened: Counter[str], damage: Callable[[Path], object]
) -> None:
    before, expected = tables(features), locations(read_catalog(features, "audio", KEY), sample_utterances)
    path = features / "session2/audio-00000000" / CATALOG_NAME
    damage(path)
    catalog = read_catalog(features, "audio", KEY, verify=True)
    assert opened == {"session2/shard.h5": 1}
    assert locations(catalog, sample_utterances) == expected
    store_catalog(catalog)
    assert tables(features) == before


def test_a_table_of_a_newer_version_is_neither_used_nor_replaced(
    features: Path,
    sample_utterances: list[Utterance],
    opened: Counter[str],
    edit_sealed: EditSealed,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = locations(read_catalog(features, "audio", KEY), sample_utterances)
    path = features / "session2/audio-00000000" / CATALOG_NAME
    with edit_sealed(path) as file:
        file.attrs["version"] = 99
    before = tables(features)
    catalog = read_catalog(features, "audio", KEY)
    assert opened == {"session2/shard.h5": 1}
    assert caplog.messages == [
        f"{path}: catalog format 99 (written by a newer version of foal); this version reads format 1; update foal; "
        "until then the shards themselves are read"
    ]
    assert locations(catalog, sample_utterances) == expected
    store_catalog(catalog)
    assert tables(features) == before


def test_a_folder_that_cannot_be_written_is_read_all_the_same(
    features: Path, sample_utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in tables(features):
        path.unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Root may write to any folder.
    monkeypatch.setattr(Path, "replace", refuse)
    catalog = read_catalog(features, "audio", KEY)
    store_catalog(catalog)
    assert tables(features) == {}
    assert sorted(path.name for path in (features / "session1/audio-00000000").iterdir()) == ["copy.h5", "shard.h5"]
    assert None not in locations(catalog, sample_utterances)


def test_a_table_in_the_wrong_folder_is_not_used(features: Path, opened: Counter[str]) -> None:
    other = features / "session1/audio-11111111"
    shutil.copytree(features / "session1/audio-00000000", other)
    catalog = read_catalog(features, "audio", "1" * 64)
    assert set(catalog.damaged) == {other / "copy.h5", other / "shard.h5"}
    assert "expected a shard of this folder" in catalog.damaged[other / "copy.h5"]


def test_media_are_compared_with_the_stored_fingerprints(
    features: Path, tmp_path: Path, sample_utterances: list[Utterance]
) -> None:
    catalog, utterance = read_catalog(features, "audio", KEY), sample_utterances[0]
    assert catalog.find(utterance, "audio", MediaFingerprints(tmp_path)) is not None
    (tmp_path / utterance.audio).write_text("another recording")
    assert catalog.find(utterance, "audio", MediaFingerprints(tmp_path)) is None
