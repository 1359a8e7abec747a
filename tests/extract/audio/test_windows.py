"""Windows over long waveforms."""

from hypothesis import given
from hypothesis import strategies as st

from foal.extract.audio.windows import FrameGrid, cut_windows
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


WHISPER = FrameGrid(span=320, partial=True, shortest=320, longest=480_000, padded=480_000, origin=0.0)
STACKED = FrameGrid(rate_hz=50, hop=1, span=1, shortest=1)


@given(seconds=st.floats(0, 200), max_seconds=st.floats(2, 30), whisper=st.booleans())
def test_windows_of_other_models_contain_every_frame_once(seconds: float, max_seconds: float, whisper: bool) -> None:
    """No window is longer than the model takes, and all but the last frame of one are whole."""
    grid = WHISPER if whisper else STACKED
    positions, longest = max(1, round(seconds * grid.rate_hz)), round(max_seconds * grid.rate_hz)
    windows = cut_windows(positions, longest, grid)
    frames = [window.start // grid.hop + frame for window in windows for frame in range(window.first, window.last)]
    assert frames == list(range(grid.frames(positions)))
    assert windows[-1].stop == positions
    for window in windows:
        assert window.stop - window.start < longest + grid.hop
        assert window.last <= grid.frames(window.stop - window.start)
    if longest == grid.longest:
        assert max(window.stop - window.start for window in windows) <= longest


def test_a_frame_of_whisper_counts_where_its_first_sample_exists() -> None:
    assert [WHISPER.frames(samples) for samples in (0, 1, 320, 321, 480_000)] == [1, 1, 1, 2, 1500]
