"""The catalog of a features folder."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import h5py
import pytest

from foal.shared.files.media_state import MediaFingerprints
from foal.shared.hdf5.opening import FutureError
from foal.shared.store.catalog import context_turns, is_same_source, read_catalog, read_shards
from foal.shared.utterance import ANY_TEXT, Utterance

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


def test_a_source_is_the_same_in_another_unicode_form_or_case(tmp_path: Path) -> None:
    def source(path: str, end: float = 1.0) -> str:
        return json.dumps([path, None, end, ""])

    nfc, nfd = source("Zo\u00eb.wav"), source("Zoe\u0308.wav")
    assert is_same_source(nfd, nfc)
    assert not is_same_source(source("Zoe\u0308.wav", 2.0), nfc)
    media = MediaFingerprints(tmp_path)
    (tmp_path / "clip.wav").write_text("sound")
    assert not is_same_source(source("Clip.WAV"), source("clip.wav"), media)
    (tmp_path / "Clip.WAV").hardlink_to(tmp_path / "clip.wav")  # stands for a file system without case
    assert is_same_source(source("Clip.WAV"), source("clip.wav"), media)
    assert not is_same_source(source("Clip.WAV"), source("clip.wav"))
    for foreign in ("imported", "[]", "[1, 2]", "null"):
        assert not is_same_source(foreign, nfc)


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


def test_imported_text_fits_any_words_and_extracted_text_its_own() -> None:
    utterance, corrected = Utterance(id="a", transcript="It rained."), Utterance(id="a", transcript="It snowed.")
    assert is_same_source(ANY_TEXT, utterance.source("text"))
    assert is_same_source(utterance.source("text"), utterance.source("text"))
    assert not is_same_source(utterance.source("text"), corrected.source("text"))
    assert not is_same_source(ANY_TEXT, Utterance(id="a", audio="text").source("audio"))
    assert context_turns({"context": 3}) == 3
    assert context_turns({}) == context_turns({"context": "3"}) == 0
