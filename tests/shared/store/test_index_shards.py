"""Errors for missing, changed and damaged shards of an index, and for links to outside its folder."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import h5py
import numpy as np
import pytest

from foal.shared.errors import StoreError, UsageError
from foal.shared.store.catalog import read_catalog
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance
from foal.tests.verification import verify_target

KEYS = {"audio": "0" * 64, "face": "0" * 64}
MakeFeatures = Callable[..., Path]
EditSealed = Callable[[Path], AbstractContextManager[h5py.File]]


def test_missing_changed_and_damaged_shards_are_refused_by_name(
    store_path: Path, tmp_path: Path, edit_sealed: EditSealed
) -> None:
    shard = next((tmp_path / "features" / "session2").glob("audio-*/*.h5"))
    content = shard.read_bytes()

    shard.unlink()
    with FeatureStore(store_path) as store, pytest.raises(StoreError, match=shard.name):
        store.packed("audio")
    assert [(path, "no such shard" in reason) for path, reason in verify_target(store_path)[1]] == [(shard, True)]

    with h5py.File(shard, "w") as file:
        file["x"] = 1
    with FeatureStore(store_path) as store, pytest.raises(StoreError, match="expected a file of format"):
        store.packed("audio")

    shard.write_bytes(content)
    with edit_sealed(shard) as file:
        file.attrs["digest"] = np.bytes_("another")
    with FeatureStore(store_path) as store, pytest.raises(StoreError, match="not the one"):
        store.shards.open(store.shard_paths.index(shard))
    assert ["digest does not match" in reason for path, reason in verify_target(store_path)[1] if path == shard] == [
        True
    ]

    shard.write_bytes(content)
    with edit_sealed(shard) as file:
        file["values"][0, 0] += 1
    assert any(path == shard for path, _ in verify_target(store_path)[1])
    with FeatureStore(store_path) as store, pytest.raises(StoreError, match="do not match their checksum"):
        store.packed("audio")
    assert shard in read_catalog(tmp_path / "features", "audio", KEYS["audio"], verify=True).damaged
    assert shard not in read_catalog(tmp_path / "features", "audio", KEYS["audio"]).damaged


def test_symbolic_links_out_of_the_folder_are_not_followed(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    make_features(tmp_path / "elsewhere" / "features", sample_utterances)
    project = tmp_path / "project"
    project.mkdir()
    (project / "features").symlink_to(tmp_path / "elsewhere" / "features")
    with pytest.raises(UsageError, match="through a symbolic link"):
        write_index(project / "feats.h5", sample_utterances, project / "features", KEYS)
    # A link that stays inside the folder, and a link to the complete folder, are accepted.
    write_index(tmp_path / "feats.h5", sample_utterances, project / "features", KEYS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to(tmp_path)
    with FeatureStore(tmp_path / "other" / "link" / "feats.h5") as store:
        assert len(store.packed("audio").offsets) == 19
    (project / "features").unlink()
    (project / "features").symlink_to("/")
    with FeatureStore(tmp_path / "feats.h5") as store, pytest.raises(StoreError, match="through a symbolic link"):
        store.packed("audio")
