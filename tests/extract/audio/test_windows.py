"""Windows over long waveforms."""

from hypothesis import given
from hypothesis import strategies as st

from foal.extract.audio.windows import cut_windows
from foal.shared.timing import audio_frames


@given(samples=st.integers(1, 2_000_000), max_samples=st.integers(32_000, 480_000))
def test_windows_contain_every_frame_once_and_with_context(samples: int, max_samples: int) -> None:
    windows = cut_windows(samples, max_samples)
    frames = [window.start // 320 + frame for window in windows for frame in range(window.first, window.last)]
    assert frames == list(range(audio_frames(samples)))
    context = audio_frames(max_samples) // 6
    for window in windows:
        assert window.start % 320 == 0
        assert window.stop - window.start < max_samples + 320
        count = audio_frames(window.stop - window.start)
        assert 0 <= window.first < window.last <= count
        if window.start > 0:
            assert window.first >= context
        if window.stop < samples:
            assert count - window.last >= context
    assert windows[-1].stop == samples


def test_short_audio_is_one_window() -> None:
    (window,) = cut_windows(480_000, 480_000)
    assert (window.start, window.stop, window.first, window.last) == (0, 480_000, 0, 1499)
