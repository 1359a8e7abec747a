"""Clips cut into utterances."""

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from foal.predict.segments.cuts import equal_pieces, segmented
from foal.predict.sources import file_utterance, part_of
from foal.tests.predict.small_model import write_clip

needs_weights = pytest.mark.skipif(find_spec("silero_vad") is None, reason="silero-vad is not installed (extra vad)")


@given(length=st.floats(0.05, 500), window=st.floats(0.1, 30))
def test_pieces_cover_the_clip_and_are_about_as_long_as_asked(length: float, window: float) -> None:
    pieces = equal_pieces(length, window)
    assert pieces[0][0] == 0
    assert pieces[-1][1] == length
    assert all(before[1] == after[0] for before, after in pairwise(pieces))
    assert all(end - start == pytest.approx(window) for start, end in pieces[:-1])
    if length >= window:
        assert window / 2 - 1e-6 <= pieces[-1][1] - pieces[-1][0] <= 1.5 * window + 1e-6


def test_fixed_pieces_become_utterances(tmp_path: Path) -> None:
    clip = file_utterance(write_clip(tmp_path / "a.avi", seconds=3.0))
    parts, notes = segmented([clip], "fixed", window=1.0)
    assert [(part.start, part.end) for part in parts] == [(0.0, 1.0), (1.0, 2.0), (2.0, pytest.approx(3.0, abs=0.1))]
    assert parts[1].id == f"{clip.id}#1.00-2.00"
    assert notes == {}


def test_a_segment_of_a_manifest_is_cut_within_its_times(tmp_path: Path) -> None:
    clip = part_of(file_utterance(tmp_path / "a.avi"), "x", start=1.0, end=3.0)
    parts, _ = segmented([clip], "fixed", window=1.0)
    assert [(part.start, part.end) for part in parts] == [(1.0, 2.0), (2.0, 3.0)]


@pytest.mark.parametrize("kind", ["fixed", pytest.param("vad", marks=needs_weights)])
def test_a_damaged_file_stays_whole_and_fails_later(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.avi").write_bytes(b"no media")
    clip = file_utterance(tmp_path / "a.avi")
    assert segmented([clip], kind, window=1.0) == ([clip], {})  # type: ignore[arg-type]


@needs_weights
def test_clips_without_speech_or_sound_are_predicted_as_a_whole(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000, np.float32), 16_000)
    silence = file_utterance(tmp_path / "silence.wav")
    mute = file_utterance(write_clip(tmp_path / "mute.avi", sound=False))
    parts, notes = segmented([silence, mute], "vad", window=1.0)
    assert parts == [silence, mute]
    assert "no speech found" in notes[silence.id]
    assert "no sound" in notes[mute.id]


def test_the_faces_of_a_clip_are_cut_at_the_same_times(tmp_path: Path) -> None:
    clip = file_utterance(write_clip(tmp_path / "a.avi", seconds=2.0))
    faces = [part_of(clip, f"face{number}", crop=crop) for number, crop in ((1, "left"), (2, "right"))]
    parts, _ = segmented(faces, "fixed", window=1.0)
    assert [part.crop for part in parts] == ["left", "left", "right", "right"]
    assert [part.start for part in parts] == [0.0, 1.0, 0.0, 1.0]
    assert parts[-1].id.startswith(f"{faces[1].id}#1.00-")
