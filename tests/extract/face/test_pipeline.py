"""From videos to face entries: the order of results, independence of files, and the fallback from decord to PyAV."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foal.extract.face.batching import FaceExtractor
from foal.extract.face.pipeline import DecodedFrame, VideoPlan, decode_video, face_entries
from foal.extract.media.media_group import MediaGroup
from foal.extract.media.video_reader import Backend, DecodeFallbackError
from foal.shared.config.settings import FaceSettings
from foal.shared.errors import MediaError
from foal.shared.store.shard import Entry
from foal.shared.utterance import Utterance

Build = Callable[..., FaceExtractor]
MakeVideo = Callable[..., Path]
FPS_10 = FaceSettings(fps=10.0)


def utterance(name: str, start: float | None = None, end: float | None = None) -> Utterance:
    return Utterance(id=name, corpus="c", video="v.mp4", start=start, end=end)


def group(path: Path | None, *utterances: Utterance, backend: Backend = "auto") -> MediaGroup:
    return MediaGroup(
        modality="face", path=path, fingerprint="f", utterances=utterances or [utterance("u")], backend=backend
    )


def test_a_video_is_decoded_once_for_all_its_utterances(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", frames=50)
    plan, *frames = decode_video(group(path, utterance("a", 0.5, 1.0), utterance("b", 0.0, 0.7)), FPS_10, 4)
    assert isinstance(plan, VideoPlan)
    assert (plan.lengths, plan.declared, plan.problems) == ([5, 7], [5, 7], {})
    events = [frame for frame in frames if isinstance(frame, DecodedFrame)]
    assert len(events) == len(frames) == 12
    for number in (0, 1):
        positions = [event.sample.position for event in events if event.number == number]
        assert positions == list(range(plan.lengths[number]))


def test_times_outside_the_video_fail_only_their_utterance(tmp_path: Path, make_video: MakeVideo, build: Build) -> None:
    path = make_video(tmp_path / "v.mp4", frames=25)
    results = face_entries(
        [group(path, utterance("a", 0, 1e300), utterance("b", 0, 1))], build(region="crop"), decoders=1
    )
    (_, first), (_, second) = results
    assert isinstance(first, MediaError)
    assert isinstance(second, Entry)
    assert second.valid.all()


def test_missing_videos_and_tracks_give_empty_entries_with_a_note(tmp_path: Path, build: Build) -> None:
    import soundfile

    soundfile.write(tmp_path / "s.wav", np.zeros(1600), 16000)
    extractor = build(region="crop")
    results = list(face_entries([group(None), group(tmp_path / "s.wav")], extractor, decoders=1))
    assert [entry.note for _, entry in results if isinstance(entry, Entry)] == [
        "no video in the manifest",
        "no video track",
    ]
    assert all(isinstance(entry, Entry) and entry.values.shape == (0, extractor.encoder.width) for _, entry in results)


def test_a_video_that_begins_late_is_not_called_damaged(tmp_path: Path, make_video: MakeVideo, build: Build) -> None:
    times_ms = [500 + 40 * number for number in range(25)]
    path = make_video(tmp_path / "late.mkv", frames=25, times_ms=times_ms, audio_hz=44100)
    ((_, entry),) = face_entries([group(path, utterance("u", 0, 1.5))], build(region="crop"), decoders=1)
    assert isinstance(entry, Entry)
    assert entry.valid.tolist() == [False] * 5 + [True] * 10
    assert (entry.note, entry.quality["decoded"]) == ("", 1.0)


def test_results_keep_the_order_of_the_utterances(tmp_path: Path, make_video: MakeVideo, build: Build) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    paths = [
        make_video(tmp_path / "long.mp4", frames=60),
        tmp_path / "text.mp4",
        make_video(tmp_path / "short.mp4", frames=5),
    ]
    groups = [group(path, utterance(f"{path.stem}-a"), utterance(f"{path.stem}-b")) for path in paths]
    results = list(face_entries(groups, build(region="crop"), decoders=3))
    assert [result[0].id for result in results] == [u.id for media in groups for u in media.utterances]
    assert [isinstance(entry, Entry) for _, entry in results] == [True, True, False, False, True, True]


def test_a_damaged_video_is_decoded_again_with_pyav(tmp_path: Path, make_video: MakeVideo, build: Build) -> None:
    pytest.importorskip("decord")
    path = make_video(tmp_path / "v.mp4", frames=60, b_frames=2, damaged=slice(20, 24))
    extractor = build(region="crop")
    with pytest.raises(DecodeFallbackError) as caught:
        list(face_entries([group(path)], extractor, decoders=1))
    assert caught.value.path == path
    ((_, entry),) = face_entries([group(path, backend="pyav")], extractor, decoders=1)
    assert isinstance(entry, Entry)
    decoded = int(entry.valid.sum())
    assert 12 <= decoded < 24
    assert entry.note == f"only {decoded} of 24 frames could be decoded"
    assert entry.quality["decoded"] == pytest.approx(decoded / 24)


def test_the_number_of_faces_is_that_of_the_persons_part(synthetic_corpus: Path, build: Build) -> None:
    (path, *_) = sorted(synthetic_corpus.glob("Session1/dialog/avi/DivX/*.avi"))
    whole = utterance("whole", 0.5, 1.0)
    media = group(path, whole, replace(whole, id="left", crop="left"))
    results = dict(face_entries([media], build(), decoders=1))
    assert {row.id: entry.quality["faces"] for row, entry in results.items() if isinstance(entry, Entry)} == {
        "whole": 2,
        "left": 1,
    }


def test_both_readers_give_the_same_features(tmp_path: Path, make_video: MakeVideo, build: Build) -> None:
    path = make_video(tmp_path / "v.mp4", frames=40, b_frames=2)
    extractor = build(region="crop")
    ((_, decord),) = face_entries([group(path)], extractor, decoders=1)
    ((_, pyav),) = face_entries([group(path, backend="pyav")], extractor, decoders=1)
    assert isinstance(decord, Entry)
    assert isinstance(pyav, Entry)
    np.testing.assert_array_equal(decord.valid, pyav.valid)
    assert (decord.note, decord.quality, decord.origin) == (pyav.note, pyav.quality, pyav.origin)
    np.testing.assert_allclose(decord.values, pyav.values, atol=0.05 * np.abs(pyav.values).max())
