"""The catalog of a features folder."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import h5py
import pytest

from foal.shared.hdf5.opening import FutureError
from foal.shared.store.catalog import MediaFingerprints, read_catalog
from foal.shared.utterance import Utterance

KEYS = {"audio": "0" * 64, "face": "0" * 64}
MakeFeatures = Callable[..., Path]
Altered = Callable[[Path], AbstractContextManager[h5py.File]]


def test_shards_of_a_newer_foal_are_nobodys_to_extract_again(store_path: Path, altered: Altered) -> None:
    shard = next((store_path.parent / "features").glob("session2/audio-*/*.h5"))
    with altered(shard) as file:
        file.attrs["version"] = 99
    for verify in (False, True):
        with pytest.raises(FutureError, match="shard format 99"):
            read_catalog(store_path.parent / "features", "audio", KEYS["audio"], verify=verify)


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
