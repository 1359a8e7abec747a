import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foal.shared.errors import StoreError, UsageError
from foal.shared.hdf5.opening import FutureError
from foal.shared.store.catalog import MediaFingerprints, read_catalog
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import choose_config_hashes, write_index
from foal.shared.store.shard import ShardReader
from foal.shared.store.verify import verify_target
from foal.shared.utterance import Utterance

KEYS = {"audio": "0" * 64, "face": "0" * 64}
MakeFeatures = Callable[..., Path]
Altered = Callable[[Path], AbstractContextManager[h5py.File]]


def directly(features: Path, utterance: Utterance, modality: str) -> np.ndarray:
    """The features of an utterance read without the index: every shard opened until its id turns up."""
    for path in sorted((features / utterance.split).glob(f"{modality}-*/*.h5")):
        with ShardReader(path) as shard:
            if utterance.id in shard.ids:
                return np.asarray(shard.entry(shard.ids.index(utterance.id)).values)
    raise AssertionError(utterance.id)


@pytest.fixture
def store_path(tmp_path: Path, make_features: MakeFeatures, some_utterances: list[Utterance]) -> Path:
    make_features(tmp_path / "features", some_utterances)
    write_index(tmp_path / "feats.h5", some_utterances, tmp_path / "features", KEYS)
    return tmp_path / "feats.h5"


def test_the_store_gives_the_manifest_and_each_utterances_features(
    store_path: Path, some_utterances: list[Utterance]
) -> None:
    with FeatureStore(store_path) as store:
        assert list(store.utterances) == some_utterances
        assert store.random_weights
        assert {name: modality.width for name, modality in store.streams.items()} == {"audio": 8, "face": 6}
        for modality in KEYS:
            packed = store.packed(modality)
            for row, utterance in enumerate(some_utterances):
                got = packed.values[packed.offsets[row] : packed.offsets[row + 1]]
                np.testing.assert_array_equal(got, directly(store_path.parent / "features", utterance, modality))
            assert packed.valid.sum() == store.valid_frames(modality).sum()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.integers(0, 17), max_size=40))
def test_any_rows_in_any_order(store_path: Path, rows: list[int]) -> None:
    with FeatureStore(store_path) as store:
        whole, some = store.packed("audio"), store.packed("audio", rows)
        for position, row in enumerate(rows):
            np.testing.assert_array_equal(
                some.values[some.offsets[position] : some.offsets[position + 1]],
                whole.values[whole.offsets[row] : whole.offsets[row + 1]],
            )


def test_a_packed_index_says_the_same_without_its_shards(
    store_path: Path, tmp_path: Path, some_utterances: list[Utterance]
) -> None:
    packed_path = tmp_path / "elsewhere" / "packed.h5"
    write_index(packed_path, some_utterances, tmp_path / "features", KEYS, pack=True)
    with FeatureStore(store_path) as store, FeatureStore(packed_path) as packed:
        assert packed.digest == store.digest
        for modality in KEYS:
            one, other = store.packed(modality, [5, 3, 11]), packed.packed(modality, [5, 3, 11])
            np.testing.assert_array_equal(one.values, other.values)
            np.testing.assert_array_equal(one.valid, other.valid)
    assert verify_target(packed_path) == (1, [])


def test_an_index_that_would_say_the_same_is_left_alone(
    store_path: Path, tmp_path: Path, some_utterances: list[Utterance]
) -> None:
    before = store_path.stat().st_mtime_ns
    assert not write_index(store_path, some_utterances, tmp_path / "features", KEYS).changed
    assert store_path.stat().st_mtime_ns == before
    assert write_index(store_path, some_utterances[1:], tmp_path / "features", KEYS).changed


def test_the_index_moves_with_its_shards(store_path: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    os.rename(store_path, tmp_path / "moved" / "feats.h5")
    os.rename(tmp_path / "features", tmp_path / "moved" / "features")
    with FeatureStore(tmp_path / "moved" / "feats.h5") as store:
        assert len(store.packed("face").offsets) == 19


def test_an_index_beside_its_shards_is_refused_unless_packed(
    store_path: Path, tmp_path: Path, some_utterances: list[Utterance]
) -> None:
    with pytest.raises(UsageError, match="--pack"):
        write_index(tmp_path / "other" / "feats.h5", some_utterances, tmp_path / "features", KEYS)
    assert not (tmp_path / "other" / "feats.h5").exists()


def test_missing_changed_and_damaged_shards_are_named_never_zeros(
    store_path: Path, tmp_path: Path, altered: Altered
) -> None:
    shard = next((tmp_path / "features" / "session2").glob("audio-*/*.h5"))
    whole = shard.read_bytes()

    shard.unlink()
    with FeatureStore(store_path) as store, pytest.raises(StoreError, match=shard.name):
        store.packed("audio")
    assert [(path, "gone" in reason) for path, reason in verify_target(store_path)[1]] == [(shard, True)]

    with h5py.File(shard, "w") as file:
        file["x"] = 1
    with FeatureStore(store_path) as store, pytest.raises(StoreError, match="expected a file of format"):
        store.packed("audio")

    shard.write_bytes(whole)
    with altered(shard) as file:
        file.attrs["digest"] = np.bytes_("another")
    with FeatureStore(store_path) as store, pytest.raises(StoreError, match="not the one"):
        store.open_shard(store.shard_paths.index(shard))
    assert ["digest does not match" in reason for path, reason in verify_target(store_path)[1] if path == shard] == [
        True
    ]

    shard.write_bytes(whole)
    with altered(shard) as file:
        file["values"][0, 0] += 1
    assert any(path == shard for path, _ in verify_target(store_path)[1])
    with FeatureStore(store_path) as store, pytest.raises(StoreError, match="do not match their checksum"):
        store.packed("audio")
    assert shard in read_catalog(tmp_path / "features", "audio", KEYS["audio"], verify=True).damaged
    assert shard not in read_catalog(tmp_path / "features", "audio", KEYS["audio"]).damaged


def test_an_index_takes_no_other_files_place(
    tmp_path: Path, make_features: MakeFeatures, some_utterances: list[Utterance]
) -> None:
    make_features(tmp_path / "features", some_utterances)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="exists and is not a feats"):
        write_index(tmp_path / "thesis.txt", some_utterances, tmp_path / "features", KEYS)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("pack", [False, True], ids=["shards", "packed"])
def test_a_damaged_index_is_replaced_and_a_newer_one_is_not(
    store_path: Path, tmp_path: Path, some_utterances: list[Utterance], altered: Altered, pack: bool
) -> None:
    def again() -> bool:
        return write_index(store_path, some_utterances, tmp_path / "features", KEYS, pack=pack).changed

    again()
    whole = store_path.read_bytes()
    assert not again()
    format_at = whole.index(b"foal-feats")
    for content in (b"", whole[:700], whole[:-1], b"\0" + whole[1:], whole[:format_at] + b"F" + whole[format_at + 1 :]):
        store_path.write_bytes(content)
        assert again()
        assert store_path.read_bytes() == whole
    with altered(store_path) as file:
        file.attrs["version"] = 99
    newer = store_path.read_bytes()
    with pytest.raises(FutureError, match="format 99"):
        again()
    assert store_path.read_bytes() == newer
    shard = next((tmp_path / "features").rglob("*.h5"))
    before = shard.read_bytes()
    with pytest.raises(UsageError, match="exists and is not a feats"):
        write_index(shard, some_utterances, tmp_path / "features", KEYS)
    assert shard.read_bytes() == before


def test_shards_of_a_newer_foal_are_nobodys_to_extract_again(store_path: Path, altered: Altered) -> None:
    shard = next((store_path.parent / "features").glob("session2/audio-*/*.h5"))
    with altered(shard) as file:
        file.attrs["version"] = 99
    for verify in (False, True):
        with pytest.raises(FutureError, match="shard format 99"):
            read_catalog(store_path.parent / "features", "audio", KEYS["audio"], verify=verify)


def test_a_link_that_leads_out_is_not_followed(
    tmp_path: Path, make_features: MakeFeatures, some_utterances: list[Utterance]
) -> None:
    make_features(tmp_path / "elsewhere" / "features", some_utterances)
    project = tmp_path / "project"
    project.mkdir()
    (project / "features").symlink_to(tmp_path / "elsewhere" / "features")
    with pytest.raises(UsageError, match="a symbolic link leads to"):
        write_index(project / "feats.h5", some_utterances, project / "features", KEYS)
    # One that stays inside, and a linked folder of all, do no harm.
    write_index(tmp_path / "feats.h5", some_utterances, project / "features", KEYS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to(tmp_path)
    with FeatureStore(tmp_path / "other" / "link" / "feats.h5") as store:
        assert len(store.packed("audio").offsets) == 19
    (project / "features").unlink()
    (project / "features").symlink_to("/")
    with FeatureStore(tmp_path / "feats.h5") as store, pytest.raises(StoreError, match="a symbolic link leads to"):
        store.packed("audio")


def test_streams_that_would_take_a_tables_place(store_path: Path, some_utterances: list[Utterance]) -> None:
    with pytest.raises(UsageError, match="face/quality: a stream cannot have this name"):
        write_index(store_path, some_utterances, store_path.parent / "features", KEYS | {"face/quality": KEYS["face"]})


def test_verify_names_foreign_and_left_over_files(store_path: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    assert verify_target(features)[1] == []
    (features / "session1" / "notes.txt").write_text("mine")
    (features / "session1" / ".tmp-host~1~x.h5").write_text("half")
    (features / "session1" / "failures.csv").write_text("id")
    assert {path.name for path, _ in verify_target(features)[1]} == {"notes.txt", ".tmp-host~1~x.h5"}


def test_an_index_of_an_older_version_says_so(store_path: Path, altered: Altered) -> None:
    with altered(store_path) as file:
        file.attrs["version"] = 4
    with pytest.raises(StoreError) as caught:
        FeatureStore(store_path)
    assert (
        str(caught.value) == f"{store_path}: index format 4 (foal 0.1); this version reads format 5; run `foal index`"
    )


@pytest.mark.parametrize("damage", ["text", "truncated", "foreign", "future", "no table"])
def test_a_broken_index_is_refused(store_path: Path, altered: Altered, damage: str) -> None:
    if damage == "text":
        store_path.write_text("id,label")
    elif damage == "truncated":
        store_path.write_bytes(store_path.read_bytes()[:700])
    else:
        with altered(store_path) as file:
            if damage == "no table":
                del file["utterances/label"]
            else:
                file.attrs["format" if damage == "foreign" else "version"] = 99
    with pytest.raises(FutureError if damage == "future" else StoreError, match=r"feats\.h5"):
        FeatureStore(store_path)


def test_what_was_not_extracted_stays_out_and_is_listed(
    tmp_path: Path, make_features: MakeFeatures, some_utterances: list[Utterance]
) -> None:
    make_features(tmp_path / "features", some_utterances[:10])
    joined = write_index(tmp_path / "feats.h5", some_utterances, tmp_path / "features", KEYS)
    assert joined.utterances == 10
    assert joined.not_extracted == tuple(utterance.id for utterance in some_utterances[10:])
    with pytest.raises(StoreError, match="run `foal extract` first"):
        write_index(tmp_path / "none.h5", some_utterances[10:], tmp_path / "features", KEYS)
    assert not (tmp_path / "none.h5").exists()


def test_a_row_cut_otherwise_is_not_extracted(
    tmp_path: Path, make_features: MakeFeatures, some_utterances: list[Utterance]
) -> None:
    make_features(tmp_path / "features", some_utterances)
    catalog = read_catalog(tmp_path / "features", "face", KEYS["face"])
    one = some_utterances[0]
    changed = Utterance(id=one.id, corpus=one.corpus, session=one.session, video=one.video, audio=one.audio, end=2.0)
    assert catalog.find(one, "face") is not None
    assert catalog.find(changed, "face") is None
    assert catalog.find(one, "face", MediaFingerprints(tmp_path)) is not None
    (tmp_path / one.video).write_text("another film")
    assert catalog.find(one, "face", MediaFingerprints(tmp_path)) is None


def test_choosing_among_several_keys(
    tmp_path: Path, make_features: MakeFeatures, some_utterances: list[Utterance]
) -> None:
    features = tmp_path / "features"
    with pytest.raises(StoreError, match="no shards"):
        choose_config_hashes(features, ["audio", "face"], {})
    make_features(features, some_utterances, widths={"audio": 4}, key="a" * 64)
    assert choose_config_hashes(features, ["audio", "face"], {}) == {"audio": "a" * 8}
    make_features(features, some_utterances, widths={"audio": 4}, key="b" * 64)
    with pytest.raises(UsageError, match="aaaaaaaa, bbbbbbbb"):
        choose_config_hashes(features, ["audio", "face"], {})
    assert choose_config_hashes(features, ["audio", "face"], {"audio": "b" * 64}) == {"audio": "b" * 8}


def test_given_catalogs_are_used_and_no_shard_is_opened_again(
    store_path: Path, tmp_path: Path, some_utterances: list[Utterance]
) -> None:
    features = tmp_path / "features"
    catalogs = {stream: read_catalog(features, stream, config_hash) for stream, config_hash in KEYS.items()}
    whole = store_path.read_bytes()
    shards = sorted(features.rglob("*.h5"))
    contents = [shard.read_bytes() for shard in shards]
    # Of their sizes, but no shards: an attempt to open one would fail.
    for shard, content in zip(shards, contents, strict=True):
        shard.write_bytes(bytes(len(content)))
    assert not write_index(store_path, some_utterances, features, KEYS, catalogs=catalogs).changed
    store_path.unlink()
    assert write_index(store_path, some_utterances, features, KEYS, catalogs=catalogs).changed
    assert store_path.read_bytes() == whole
    # A stream without a catalog is read here.
    for shard, content in zip(shards, contents, strict=True):
        shard.write_bytes(content)
    assert not write_index(store_path, some_utterances, features, KEYS, catalogs={"audio": catalogs["audio"]}).changed
    shards[0].write_bytes(b"replaced")
    store_path.unlink()
    with pytest.raises(StoreError, match="changed while the index was written"):
        write_index(store_path, some_utterances, features, KEYS, catalogs=catalogs)
