"""Detection of stale files in a features folder, with the reasons."""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from foal.extract.maintenance.row_states import ABSENT, CHANGED_ROW, CURRENT, NEWER
from foal.extract.maintenance.stale import DAMAGED, LEFT_OVER, OTHER, SUPERSEDED, find_stale
from foal.shared.files.fingerprint import media_fingerprint
from foal.shared.files.media_state import MediaFingerprints, MediaState
from foal.shared.store.catalog import read_catalog, shard_folder, store_catalog
from foal.shared.store.shard import VERSION, Entry, ShardHeader, ShardWriter
from foal.shared.utterance import Utterance

MakeFeatures = Callable[..., Path]
CONFIG, OLD = "a" * 64, "b" * 64
CONFIGS = {"audio": CONFIG, "face": CONFIG}


def write_shard(
    features: Path,
    utterances: Sequence[Utterance],
    *,
    root: Path,
    name: str = "shard.h5",
    content: bool = False,
    config: Mapping[str, object] | None = None,
) -> Path:
    """Write an audio shard with the fingerprints of the current media."""
    path = shard_folder(features, utterances[0].split, "audio", CONFIG) / name
    header = ShardHeader(
        modality="audio",
        config_hash=CONFIG,
        rate_hz=50.0,
        encoder="random:test",
        revision="",
        weights="0",
        random_weights=True,
        config=config or {},
    )
    with ShardWriter(path, header, dtype="float16") as writer:
        for utterance in utterances:
            writer.add(
                Entry(
                    id=utterance.id,
                    values=np.ones((2, 3), np.float32),
                    valid=np.ones(2, bool),
                    origin=0.0,
                    source=utterance.source("audio"),
                    media=media_fingerprint(root / utterance.audio, content=content),
                )
            )
    return path


def reasons(
    features: Path, utterances: Sequence[Utterance], root: Path, config_hashes: Mapping[str, str] = CONFIGS
) -> dict[Path, str]:
    return {
        file.path: file.reason
        for file in find_stale(features, utterances, config_hashes, MediaFingerprints(root)).stale
    }


@pytest.fixture
def split_utterances(sample_utterances: list[Utterance], tmp_path: Path) -> list[Utterance]:
    """Six utterances of one split with existing audio files."""
    members = [utterance for utterance in sample_utterances if utterance.split == "session1"]
    (tmp_path / "media").mkdir()
    for utterance in members:
        (tmp_path / "media" / utterance.audio).write_text(f"sound of {utterance.id}")
    return members


def test_current_features_are_not_stale(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    features = make_features(tmp_path / "features", sample_utterances, key=CONFIG)
    report = find_stale(features, sample_utterances, CONFIGS, MediaFingerprints(tmp_path))
    assert report.stale == ()
    assert report.rows == {"audio-aaaaaaaa": {CURRENT: 18}, "face-aaaaaaaa": {CURRENT: 18}}
    assert find_stale(tmp_path / "nowhere", sample_utterances, CONFIGS, MediaFingerprints(tmp_path)).stale == ()


def test_a_shard_that_changed_since_its_catalog_is_not_stale(tmp_path: Path, split_utterances: list[Utterance]) -> None:
    for utterance in split_utterances:
        (tmp_path / utterance.audio).write_bytes(b"sound")
    features, session = tmp_path / "features", [u for u in split_utterances if u.split == split_utterances[0].split]
    shard = write_shard(features, session, root=tmp_path)
    store_catalog(read_catalog(features, "audio", CONFIG))
    os.utime(shard)
    assert reasons(features, session, tmp_path, {"audio": CONFIG}) == {}


def test_shards_of_other_configurations_are_stale(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    features = make_features(tmp_path / "features", sample_utterances, key=CONFIG)
    make_features(features, sample_utterances, key=OLD)
    report = find_stale(
        features,
        sample_utterances,
        {"audio": CONFIG, "face": OLD, "face/clip": "aaaaaaaa"},
        MediaFingerprints(tmp_path),
    )
    assert {file.path for file in report.stale} == set(features.glob("*/audio-bbbbbbbb/*.h5"))
    for file in report.stale:
        assert (file.reason, file.rows, file.modality, file.config_hash, file.imported) == (
            OTHER,
            6,
            "audio",
            "bbbbbbbb",
            False,
        )
        assert file.size == file.path.stat().st_size
    # A modality without streams is not examined; with an unknown hash all its shards are unused.
    assert find_stale(features, sample_utterances, {"audio": CONFIG}, MediaFingerprints(tmp_path)).stale == report.stale
    assert len(find_stale(features, sample_utterances, {"face": ""}, MediaFingerprints(tmp_path)).stale) == 6


def test_shards_of_older_versions_are_stale_and_those_of_newer_versions_are_not(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    features = make_features(tmp_path / "features", sample_utterances, widths={"audio": 4}, key=OLD)
    older, newer, other = sorted(features.rglob("*.h5"))
    for path, version in ((older, VERSION - 1), (newer, VERSION + 1)):
        with h5py.File(path, "r+") as file:
            file.attrs["version"] = version
    assert reasons(features, sample_utterances, tmp_path) == {older: OTHER, other: OTHER}


@pytest.mark.parametrize("content", [False, True], ids=["stat", "content"])
def test_a_shard_of_changed_media_is_superseded(
    tmp_path: Path, split_utterances: list[Utterance], content: bool
) -> None:
    features, root = tmp_path / "features", tmp_path / "media"
    old = write_shard(features, split_utterances, root=root, content=content)
    touched = root / split_utterances[0].audio
    os.utime(touched, ns=(1, 1))
    report = find_stale(features, split_utterances, CONFIGS, MediaFingerprints(root))
    assert report.stale == ()
    # Without a content hash, a changed modification time means changed media.
    assert report.rows["audio-aaaaaaaa"] == ({CURRENT: 6} if content else {CURRENT: 5, MediaState.TIME: 1})
    for utterance in split_utterances:
        (root / utterance.audio).write_text("another sound")
    assert reasons(features, split_utterances, root) == {old: SUPERSEDED}
    # Missing media count as unchanged.
    assert reasons(features, split_utterances, tmp_path / "nowhere") == {}


def test_a_shard_without_current_rows_is_superseded(tmp_path: Path, split_utterances: list[Utterance]) -> None:
    features, root = tmp_path / "features", tmp_path / "media"
    old = write_shard(features, split_utterances, root=root, name="old.h5")
    new = write_shard(features, split_utterances[:3], root=root, name="new.h5")
    cut = [replace(utterance, end=2.0) for utterance in split_utterances[3:5]]
    manifest = [*split_utterances[:3], *cut, split_utterances[5]]
    report = find_stale(features, manifest, CONFIGS, MediaFingerprints(root))
    assert report.stale == ()
    assert report.rows["audio-aaaaaaaa"] == {CURRENT: 4, NEWER: 3, CHANGED_ROW + "end": 2}
    manifest = manifest[:5]
    report = find_stale(features, manifest, CONFIGS, MediaFingerprints(root))
    assert [(file.path, file.reason, file.rows) for file in report.stale] == [(old, SUPERSEDED, 6)]
    assert report.rows["audio-aaaaaaaa"] == {CURRENT: 3, NEWER: 3, CHANGED_ROW + "end": 2, ABSENT: 1}
    assert reasons(features, split_utterances[5:], root) == {new: ABSENT}


def test_damaged_shards_and_leftover_files_are_stale_and_foreign_files_are_not(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    features = make_features(tmp_path / "features", sample_utterances, key=CONFIG)
    folder = features / "session1" / "audio-aaaaaaaa"
    truncated = folder / "fedcba9876543210.h5"
    truncated.write_bytes((folder / "shard.h5").read_bytes()[:900])
    zeroed = folder / "0123456789abcdef.h5"
    zeroed.write_bytes(b"\0" * 900)
    without_config = folder / "headless.h5"
    without_config.write_bytes((folder / "shard.h5").read_bytes())
    with h5py.File(without_config, "r+") as file:
        del file.attrs["config"]
    unused_pid = 2**22 + 1  # above the largest process id of Linux
    leftover = folder / f".tmp-{socket.gethostname()}~{unused_pid}~x.h5"
    leftover.write_text("half")

    # Foreign: another format, a shard of another folder, text, temporary files of other machines and live processes.
    with h5py.File(folder / "mine.h5", "w") as file:
        file["x"] = 1
    (folder / "text.h5").write_text("notes")
    (folder / "notes.txt").write_text("notes")
    (folder / ".tmp-elsewhere~1~x.h5").write_text("half")
    (folder / f".tmp-{socket.gethostname()}~1~x.h5").write_text("half")
    (features / "session1" / "audio-backup").mkdir()
    (features / "session1" / "audio-backup" / "shard.h5").write_bytes((folder / "shard.h5").read_bytes())
    (features / "session1" / "audio-aaaa").mkdir()
    (features / "session1" / "audio-aaaa" / "shard.h5").write_bytes((folder / "shard.h5").read_bytes())
    (folder / "copied.h5").write_bytes((features / "session1" / "face-aaaaaaaa" / "shard.h5").read_bytes())
    other = features / "session1" / "audio-cccccccc"
    other.mkdir()
    (other / "shard.h5").write_bytes(truncated.read_bytes())
    # Truncated HDF5 files of other programs have the same content.
    (folder / "results.h5").write_bytes(truncated.read_bytes())

    assert reasons(features, sample_utterances, tmp_path) == {
        truncated: DAMAGED,
        zeroed: DAMAGED,
        without_config: DAMAGED,
        leftover: LEFT_OVER,
    }


def test_imported_features_are_marked(tmp_path: Path, split_utterances: list[Utterance]) -> None:
    features = tmp_path / "features"
    write_shard(features, split_utterances, root=tmp_path / "media", config={"provenance": "imported"})
    report = find_stale(features, split_utterances, {"audio": OLD}, MediaFingerprints(tmp_path / "media"))
    assert [(file.reason, file.imported) for file in report.stale] == [(OTHER, True)]


def test_external_links_of_a_shard_are_not_opened(tmp_path: Path, split_utterances: list[Utterance]) -> None:
    os.mkfifo(tmp_path / "never")
    path = shard_folder(tmp_path / "features", split_utterances[0].split, "audio", OLD) / "0123456789abcdef.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file.attrs.update(format="foal-shard", version=VERSION, modality="audio", config_hash=OLD, config="[" * 5000)
        file["ids"] = h5py.ExternalLink(str(tmp_path / "never"), "x")
    (stale,) = find_stale(tmp_path / "features", split_utterances, CONFIGS, MediaFingerprints(tmp_path)).stale
    assert (stale.path, stale.reason, stale.rows, stale.imported) == (path, OTHER, 0, False)
