"""The catalog of a features folder."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.files.media_state import MediaFingerprints
from foal.shared.hdf5.opening import FutureError
from foal.shared.store.catalog import Catalog, CatalogRows, read_catalog, read_shards, shard_folder
from foal.shared.store.catalog.rows import INTEGERS, TEXTS
from foal.shared.utterance import Utterance
from foal.tests.shared.sample_shard import HEADER, make_entry, write_shard

KEYS = {"audio": "0" * 64, "face": "0" * 64}
MakeFeatures = Callable[..., Path]
EditSealed = Callable[[Path], AbstractContextManager[h5py.File]]


def test_shards_of_a_newer_version_are_refused(store_path: Path, edit_sealed: EditSealed) -> None:
    shard = next((store_path.parent / "features").glob("session2/audio-*/*.h5"))
    with edit_sealed(shard) as file:
        file.attrs["version"] = 99
    for verify in (False, True):
        with pytest.raises(FutureError, match="shard format 99"):
            read_catalog(store_path.parent / "features", "audio", KEYS["audio"], verify=verify)


def test_features_of_another_segment_or_of_changed_media_are_not_found(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    make_features(tmp_path / "features", sample_utterances)
    catalog = read_catalog(tmp_path / "features", "face", KEYS["face"])
    utterance = sample_utterances[0]
    changed = Utterance(
        id=utterance.id,
        corpus=utterance.corpus,
        session=utterance.session,
        video=utterance.video,
        audio=utterance.audio,
        end=2.0,
    )
    assert catalog.find(utterance, "face") is not None
    assert catalog.find(changed, "face") is None
    assert catalog.find(utterance, "face", MediaFingerprints(tmp_path)) is not None
    (tmp_path / utterance.video).write_text("another film")
    assert catalog.find(utterance, "face", MediaFingerprints(tmp_path)) is None


def test_an_empty_catalog_has_no_features(tmp_path: Path, sample_utterances: list[Utterance]) -> None:
    for catalog in (Catalog(), read_catalog(tmp_path, "audio", KEYS["audio"])):
        assert catalog.find(sample_utterances[0], "audio") is None
        assert catalog.match(sample_utterances, "audio").tolist() == [-1] * len(sample_utterances)
        assert catalog.match([], "audio").tolist() == []


@given(st.data())
def test_utterances_in_another_order_and_further_ones_have_the_same_rows(data: st.DataObject) -> None:
    numbers = data.draw(st.lists(st.integers(0, 9), unique=True))
    utterances = [Utterance(id=str(number), corpus="c", audio="a.wav", start=float(number)) for number in range(10)]
    columns: dict[str, Any] = {name: np.array([""] * len(numbers), object) for name in TEXTS}
    columns |= {name: np.zeros(len(numbers), np.int64) for name in INTEGERS}
    columns["ids"] = np.array([str(number) for number in numbers], object)
    columns["sources"] = np.array([utterances[number].source("audio") for number in numbers], object)
    rows = CatalogRows(**columns, origins=np.zeros(len(numbers)))
    catalog = Catalog(paths=[Path("c/audio-0/x.h5")], rows=rows)
    expected = {str(number): row for row, number in enumerate(numbers)}
    for _ in range(3):
        asked = data.draw(st.lists(st.sampled_from(utterances), unique_by=id))
        found = catalog.match(asked, "audio").tolist()
        assert found == [expected.get(utterance.id, -1) for utterance in asked]


def test_a_catalog_is_updated_with_new_shards_and_discards_old_ones(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    features, session = tmp_path / "features", [u for u in sample_utterances if u.session == "session1"]
    make_features(features, sample_utterances, widths={"face": 6})
    catalog = read_catalog(features, "face", KEYS["face"])
    (first,) = (features / "session1").glob("face-*/*.h5")
    second = first.with_name("second.h5")
    second.write_bytes(first.read_bytes())
    catalog.update(read_shards([second], "face", KEYS["face"]))
    assert {location.shard for u in session if (location := catalog.find(u, "face"))} == {second}
    assert set(catalog.headers) == {*features.glob("*/face-*/*.h5")}
    catalog.discard([second])
    assert {location.shard for u in session if (location := catalog.find(u, "face"))} == {first}
    # Damaged shards replace intact ones of the same path.
    first.write_bytes(b"damaged")
    catalog.update(read_shards([first], "face", KEYS["face"]))
    assert [catalog.find(u, "face") for u in session] == [None] * len(session)
    assert set(catalog.damaged) == {first}
    assert first not in catalog.shards


def test_the_newest_features_of_a_segment_count(tmp_path: Path) -> None:
    """Of three shards of an utterance the newest is of another segment, and the oldest of the wanted one, too."""
    utterance, longer = Utterance(id="u", corpus="c", audio="a.wav", end=1.0), Utterance(id="u", corpus="c", end=2.0)
    longer = replace(longer, audio="a.wav")
    paths = [shard_folder(tmp_path, "c", "audio", HEADER.config_hash) / f"{name}.h5" for name in ("z", "m", "a")]
    for path, row in zip(paths, (utterance, utterance, longer), strict=True):
        write_shard(path, make_entry("u", source=row.source("audio"), media=""))
    catalog = read_catalog(tmp_path, "audio", HEADER.config_hash)
    media = MediaFingerprints(tmp_path)
    for rows in (catalog.match([utterance, longer], "audio"), catalog.match([utterance, longer], "audio", media)):
        assert [catalog.location(row).shard for row in rows] == [paths[1], paths[2]]
    catalog.discard([paths[1]])
    assert [catalog.location(row).shard for row in catalog.match([utterance], "audio")] == [paths[0]]


def test_a_match_is_that_of_each_utterance_alone(
    tmp_path: Path, make_features: MakeFeatures, sample_utterances: list[Utterance]
) -> None:
    catalog = read_catalog(make_features(tmp_path, sample_utterances), "audio", KEYS["audio"])
    moved = [replace(utterance, audio="elsewhere.wav") for utterance in sample_utterances[:3]]
    elsewhere = [replace(utterance, session="session9") for utterance in sample_utterances[3:5]]
    utterances = [*moved, *elsewhere, *sample_utterances[5:], Utterance(id="new", session="session1", audio="0.wav")]
    media = MediaFingerprints(tmp_path)
    matched = catalog.match(utterances, "audio", media)
    # The rows of utterances that were matched before are used again, in any order and among others.
    again = catalog.match([*sample_utterances, *utterances[::-1]], "audio", media)
    assert again.tolist()[len(sample_utterances) :] == matched[::-1].tolist()
    for utterance, row in zip(utterances, matched.tolist(), strict=True):
        assert catalog.find(utterance, "audio", media) == (None if row < 0 else catalog.location(row))
    assert (matched >= 0).tolist() == [False] * 5 + [True] * 13 + [False]
    assert catalog.match([], "audio").tolist() == []
