import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.timing import (
    audio_frames,
    face_count,
    face_times,
    samples_of_frames,
    shown_frames,
    to_samples,
)


@given(st.floats(0, 1e5), st.sampled_from([8000, 16000, 44100, 48000]))
def test_the_nearest_sample_is_at_most_half_a_sample_away(seconds: float, rate: int) -> None:
    assert abs(to_samples(seconds, rate) / rate - seconds) <= 0.5 / rate * (1 + 1e-6)


@given(st.floats(0, 1e4), st.floats(0, 60), st.floats(1, 60))
def test_face_times_are_inside_the_segment_and_evenly_spaced(start: float, seconds: float, fps: float) -> None:
    times = face_times(start, seconds, fps)
    assert len(times) == max(1, np.floor(seconds * fps + 0.5))
    assert len(times) == face_count(seconds, fps)
    assert times[0] > start
    assert times[-1] <= start + max(seconds, 1 / fps) + 0.5 / fps
    np.testing.assert_allclose(np.diff(times), 1 / fps, rtol=1e-6)


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=30, unique=True),
    st.lists(st.integers(0, 6000), min_size=1, max_size=30),
    st.integers(0, 500),
)
def test_the_frame_shown_is_the_last_one_that_has_begun(stamps: list[int], times: list[int], last: int) -> None:
    """In hundredths of a second, far above the rounding that is tolerated."""
    stamps.sort()
    end = stamps[-1] + last
    for time, shown in zip(times, shown_frames(np.array(times) / 100, np.array(stamps) / 100, end / 100), strict=True):
        begun = [number for number, stamp in enumerate(stamps) if stamp <= time]
        assert shown == (begun[-1] if begun and time <= end else -1)


def test_a_frame_is_shown_until_the_next_and_the_last_until_its_end() -> None:
    shown_at = np.array([0.5, 1.0, 9.0])
    times = np.array([0.4, 0.5, 0.99, 1.0, 8.9, 9.3, 9.6])
    assert shown_frames(times, shown_at, 9.5).tolist() == [-1, 0, 0, 1, 1, 2, -1]
    assert shown_frames(np.array([1.0]), np.array([]), 2.0).tolist() == [-1]


@given(st.integers(1, 200), st.integers(0, 100_000), st.integers(0, 999))
def test_rounded_stamps_do_not_move_a_frame(fps: int, number: int, start_ms: int) -> None:
    """Matroska rounds stamps to milliseconds, and its first one as well; films of up to 200 Hz."""
    exact = (number + np.arange(3)) / fps
    rounded = np.round(exact + start_ms / 1000 + 0.0004, 3) - start_ms / 1000
    assert shown_frames(exact, rounded, float(rounded[-1]) + 1 / fps).tolist() == [0, 1, 2]


@given(st.integers(0, 10**7))
def test_audio_frames_fit_into_the_waveform_and_leave_less_than_a_hop(samples: int) -> None:
    frames = audio_frames(samples)
    start, stop = samples_of_frames(0, frames)
    assert (start, frames >= 1) == (0, True)
    if samples >= 400:
        assert samples - 320 < stop <= samples
