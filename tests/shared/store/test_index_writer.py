"""Building feats.h5 from a manifest and shards."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from foal.shared.errors import StoreError, UsageError
from foal.shared.hdf5.opening import FutureError
from foal.shared.store.catalog import read_catalog
from foal.shared.store.index_reader import read_index_header
from foal.shared.store.index_writer import choose_config_hashes, write_index
from foal.shared.utterance import Utterance

KEYS = {"audio": "0" * 64, "face": "0" * 64}
MakeFeatures = Callable[..., Path]
EditSealed = Callable[[Path], AbstractContextManager[h5py.File]]


def test_an_unchanged_index_is_not_rewritten(
    store_path: Path, tmp_path: Path, sample_utterances: list[Utterance]
) -> None:
    before = store_path.stat().st_mtime_ns
    assert not write_index(store_path, sample_utterances, tmp_path / "features", KEYS).changed
    assert store_path.stat().st_mtime_ns == before
    assert write_index(store_path, sample_utterances[1:], tmp_path / "features", KEYS).changed


def test_an_index_of_an_earlier_version_without_a_fingerprint_is_compared_by_its_digest(
    store_path: Path, tmp_path: Path, sample_utterances: list[Utterance], edit_sealed: EditSealed
) -> None:
    fingerprint = read_index_header(store_path).fingerprint
    assert fingerprint
    with edit_sealed(store_path) as file:
        del file.attrs["fingerprint"]
    assert read_index_header(store_path).fingerprint == ""
    earlier = store_path.read_bytes()
    assert not write_index(store_path, sample_utterances, tmp_path / "features", KEYS).changed
    assert store_path.read_bytes() == earlier
    relabelled = [replace(sample_utterances[0], label="another"), *sample_utterances[1:]]
    assert write_index(store_path, relabelled, tmp_path / "features", KEYS).changed
    assert read_index_header(store_path).fingerprint not in ("", fingerprint)


def test_an_index_that_is_not_above_its_shards_is_refused_unless_packed(
    store_path: Path, tmp_path: Path, sample_utterances: list[Utterance]
) -> None:
    with pytest.raises(UsageError, match="--pack"):
        write_index(tmp_path / "other" / "feats.h5", sample_utterances, tmp_path / "features", KEYS)
    assert not (tmp_path / "other" / "feats.h5").exists()


def test_an_index_does_not_replace_other_files(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    make_features(tmp_path / "features", sample_utterances)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="exists and is not a feats"):
        write_index(tmp_path / "thesis.txt", sample_utterances, tmp_path / "features", KEYS)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("pack", [False, True], ids=["shards", "packed"])
def test_a_damaged_index_is_replaced_and_a_newer_one_is_not(
    store_path: Path, tmp_path: Path, sample_utterances: list[Utterance], edit_sealed: EditSealed, pack: bool
) -> None:
    def rewrite_index() -> bool:
        return write_index(store_path, sample_utterances, tmp_path / "features", KEYS, pack=pack).changed

    rewrite_index()
    intact = store_path.read_bytes()
    assert not rewrite_index()
    format_at = intact.index(b"foal-feats")
    for content in (
        b"",
        intact[:700],
        intact[:-1],
        b"\0" + intact[1:],
        intact[:format_at] + b"F" + intact[format_at + 1 :],
    ):
        store_path.write_bytes(content)
        assert rewrite_index()
        assert store_path.read_bytes() == intact
    with edit_sealed(store_path) as file:
        file.attrs["version"] = 99
    newer = store_path.read_bytes()
    with pytest.raises(FutureError, match="format 99"):
        rewrite_index()
    assert store_path.read_bytes() == newer
    shard = next((tmp_path / "features").rglob("*.h5"))
    before = shard.read_bytes()
    with pytest.raises(UsageError, match="exists and is not a feats"):
        write_index(shard, sample_utterances, tmp_path / "features", KEYS)
    assert shard.read_bytes() == before


def test_stream_names_that_collide_with_tables_are_refused(
    store_path: Path, sample_utterances: list[Utterance]
) -> None:
    with pytest.raises(UsageError, match="face/quality: a stream cannot have this name"):
        write_index(
            store_path, sample_utterances, store_path.parent / "features", KEYS | {"face/quality": KEYS["face"]}
        )


def test_utterances_without_features_are_excluded_and_listed(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    make_features(tmp_path / "features", sample_utterances[:10])
    result = write_index(tmp_path / "feats.h5", sample_utterances, tmp_path / "features", KEYS)
    assert result.utterances == 10
    assert result.not_extracted == tuple(utterance.id for utterance in sample_utterances[10:])
    with pytest.raises(StoreError, match="run `foal extract` first"):
        write_index(tmp_path / "none.h5", sample_utterances[10:], tmp_path / "features", KEYS)
    assert not (tmp_path / "none.h5").exists()


def test_several_config_hashes_need_a_choice(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    features = tmp_path / "features"
    with pytest.raises(StoreError, match="no shards"):
        choose_config_hashes(features, ["audio", "face"], {})
    make_features(features, sample_utterances, widths={"audio": 4}, key="a" * 64)
    assert choose_config_hashes(features, ["audio", "face"], {}) == {"audio": "a" * 8}
    make_features(features, sample_utterances, widths={"audio": 4}, key="b" * 64)
    with pytest.raises(UsageError, match="aaaaaaaa, bbbbbbbb"):
        choose_config_hashes(features, ["audio", "face"], {})
    assert choose_config_hashes(features, ["audio", "face"], {"audio": "b" * 64}) == {"audio": "b" * 8}


def test_given_catalogs_are_used_without_opening_shards(
    store_path: Path, tmp_path: Path, sample_utterances: list[Utterance]
) -> None:
    features = tmp_path / "features"
    catalogs = {stream: read_catalog(features, stream, config_hash) for stream, config_hash in KEYS.items()}
    index_content = store_path.read_bytes()
    shards = sorted(features.rglob("*.h5"))
    contents = [shard.read_bytes() for shard in shards]
    # Files of the same sizes that are not shards: opening one would fail.
    for shard, content in zip(shards, contents, strict=True):
        shard.write_bytes(bytes(len(content)))
    assert not write_index(store_path, sample_utterances, features, KEYS, catalogs=catalogs).changed
    store_path.unlink()
    assert write_index(store_path, sample_utterances, features, KEYS, catalogs=catalogs).changed
    assert store_path.read_bytes() == index_content
    # The catalog of a stream is read if it is not given.
    for shard, content in zip(shards, contents, strict=True):
        shard.write_bytes(content)
    assert not write_index(store_path, sample_utterances, features, KEYS, catalogs={"audio": catalogs["audio"]}).changed
    shards[0].write_bytes(b"replaced")
    store_path.unlink()
    with pytest.raises(StoreError, match="changed while the index was written"):
        write_index(store_path, sample_utterances, features, KEYS, catalogs=catalogs)
