"""Features of new clips: extracted once, and found again."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foal.predict.extraction.cache import cache_folder, extracted_features, media_seconds
from foal.predict.sources import find_clips, part_of
from foal.shared.config.settings import Settings
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance
from foal.tests.predict.small_model import model_streams, write_clip

STREAMS = model_streams()
SETTINGS = Settings()


def extract(utterances: list[Utterance], folder: Path) -> tuple[int, dict[str, str], list[str]]:
    """Number of extracted files, failures, and the ids in the index."""
    with extracted_features(utterances, STREAMS, SETTINGS, folder=folder) as extracted:
        ids = []
        if extracted.index is not None:
            with FeatureStore(extracted.index) as store:
                ids = [utterance.id for utterance in store.utterances]
    return extracted.new, {failure.id: failure.reason for failure in extracted.failures}, ids


def test_a_second_call_does_no_work(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / "clips" / name, hz=hz) for name, hz in (("a.avi", 300), ("b.avi", 500))]
    utterances = list(find_clips([str(tmp_path / "clips")], root=tmp_path).utterances)
    cache = tmp_path / "cache"
    assert extract(utterances, cache) == (4, {}, [str(clip) for clip in clips])
    shards = {path: path.stat().st_mtime_ns for path in cache.rglob("*.h5")}
    assert len(shards) == 4
    assert extract(utterances, cache)[0] == 0
    assert extract(utterances[1:], cache)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.h5")} == shards


def test_a_changed_file_is_extracted_again_and_a_touched_one_is_not(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.avi")
    utterances = list(find_clips([str(clip)], root=tmp_path).utterances)
    extract(utterances, tmp_path / "cache")
    os.utime(clip, (1, 1))
    assert extract(utterances, tmp_path / "cache")[0] == 0
    write_clip(clip, seconds=1.5)
    assert extract(utterances, tmp_path / "cache")[0] == 2


def test_a_damaged_file_costs_only_itself(tmp_path: Path) -> None:
    good = write_clip(tmp_path / "a.avi")
    (tmp_path / "b.avi").write_bytes(b"no media at all")
    utterances = list(find_clips([str(good), str(tmp_path / "b.avi")], root=tmp_path).utterances)
    _, failures, ids = extract(utterances, tmp_path / "cache")
    assert ids == [str(good)]
    assert list(failures) == [str(tmp_path / "b.avi")]
    assert "expected a media file" in failures[str(tmp_path / "b.avi")]
    assert extract(utterances[1:], tmp_path / "cache")[2] == []


def test_the_index_is_temporary(tmp_path: Path) -> None:
    utterances = list(find_clips([str(write_clip(tmp_path / "a.avi"))], root=tmp_path).utterances)
    with extracted_features(utterances, STREAMS, SETTINGS, folder=tmp_path / "cache") as extracted:
        assert extracted.index is not None
        assert extracted.index.exists()
    assert not extracted.index.exists()


def test_segments_of_a_file_are_one_shard_and_not_those_of_the_whole(tmp_path: Path) -> None:
    (clip,) = find_clips([str(write_clip(tmp_path / "a.avi", seconds=2.0))], root=tmp_path).utterances
    parts = [part_of(clip, f"{n}", start=n / 2, end=n / 2 + 0.5) for n in range(3)]
    assert extract(parts, tmp_path / "cache")[0] == 2
    assert extract([clip], tmp_path / "cache")[0] == 2
    assert extract(parts, tmp_path / "cache")[0] == 0


def test_faces_share_the_sound_of_their_clip(tmp_path: Path) -> None:
    (clip,) = find_clips([str(write_clip(tmp_path / "a.avi"))], root=tmp_path).utterances
    cache = tmp_path / "cache"
    extract([clip], cache)
    faces = [part_of(clip, f"face{n}", crop=crop) for n, crop in ((1, "left"), (2, "right"))]
    with extracted_features(faces, STREAMS, SETTINGS, folder=cache) as extracted:
        # The pictures of both faces are extracted as one file; the sound is copied.
        assert extracted.new == 1
        assert extracted.index is not None
        with FeatureStore(extracted.index) as store:
            first, second = (store.read("audio", row)[0] for row in range(2))
            assert np.array_equal(first, second)
            assert len(first)
    assert extract(faces, cache)[0] == 0


def test_a_failure_of_a_clip_is_one_of_all_its_faces(tmp_path: Path) -> None:
    (tmp_path / "b.avi").write_bytes(b"no media at all")
    (clip,) = find_clips([str(tmp_path / "b.avi")], root=tmp_path).utterances
    faces = [part_of(clip, f"face{n}", crop=crop) for n, crop in ((1, "left"), (2, "right"))]
    assert set(extract(faces, tmp_path / "cache")[1]) == {face.id for face in faces}


def test_the_cache_is_in_the_cache_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/foal/features")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/foal/features")


def test_lengths_are_those_of_the_segment_or_of_the_file(tmp_path: Path) -> None:
    (clip,) = find_clips([str(write_clip(tmp_path / "a.avi", seconds=2.0))], root=tmp_path).utterances
    assert media_seconds(clip, "audio") == pytest.approx(2.0, abs=0.2)
    assert media_seconds(replace(clip, start=0.5, end=1.0), "audio") == 0.5
    assert media_seconds(replace(clip, audio="/nowhere"), "audio") == 1.0
    assert media_seconds(replace(clip, transcript="x" * 30), "text") == 2.0
