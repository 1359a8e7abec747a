import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.timing import (
    TIME_TOLERANCE,
    audio_frames,
    face_count,
    face_times,
    nearest_frames,
    samples_of_frames,
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
    st.lists(st.floats(0, 50), min_size=1, max_size=30, unique=True),
    st.lists(st.floats(0, 50), min_size=1, max_size=30),
)
def test_the_nearest_frame_equals_an_exhaustive_search(timestamps: list[float], times: list[float]) -> None:
    frame_times = np.sort(np.array(timestamps))
    frame_interval = np.median(np.diff(frame_times)) if len(timestamps) > 1 else np.inf
    for time, chosen in zip(times, nearest_frames(np.array(times), frame_times), strict=True):
        distance = np.abs(frame_times - time).min()
        if chosen == -1:
            assert distance > 2 * frame_interval
        else:
            assert abs(frame_times[chosen] - time) <= distance + TIME_TOLERANCE


def test_a_time_between_two_frames_selects_the_earlier_and_a_distant_time_selects_none() -> None:
    frame_times = np.array([0.0, 1.0, 2.0])
    assert nearest_frames(np.array([0.5, 1.6, 4.5]), frame_times).tolist() == [0, 2, -1]
    assert nearest_frames(np.array([1.0]), np.array([])).tolist() == [-1]


@given(st.integers(0, 10**7))
def test_audio_frames_fit_into_the_waveform_and_leave_less_than_a_hop(samples: int) -> None:
    frames = audio_frames(samples)
    start, stop = samples_of_frames(0, frames)
    assert (start, frames >= 1) == (0, True)
    if samples >= 400:
        assert samples - 320 < stop <= samples
