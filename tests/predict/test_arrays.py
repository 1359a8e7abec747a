"""A clip that is given as arrays is read back without loss."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from foal.predict.arrays import write_clip
from foal.shared.errors import UsageError

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (7, 32, 48, 3), np.uint8)


def sound_of(path: Path) -> Any:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def test_pictures_are_read_back_exactly(tmp_path: Path) -> None:
    path = write_clip(tmp_path, None, None, FRAMES, 12.5)
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 12.5
    np.testing.assert_array_equal(np.stack(pictures), FRAMES)


@pytest.mark.parametrize("channels", [None, 1, 2])
@pytest.mark.parametrize("kind", ["float32", "int16"])
def test_sound_is_read_back_exactly(tmp_path: Path, channels: int | None, kind: str) -> None:
    shape = (4001,) if channels is None else (4001, channels)
    samples = (RNG.uniform(-1, 1, shape) * (1 if kind == "float32" else 32767)).astype(kind)
    found = sound_of(write_clip(tmp_path, samples, 16_000, None, None))
    expected = samples if kind == "float32" else (samples / 32768).astype(np.float32)
    np.testing.assert_array_equal(found.reshape(-1), expected.reshape(-1))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            (np.zeros((2, 3, 4)), 16_000, None, None),
            r"waveform: expected \(samples,\) or \(samples, channels\), got \(2, 3, 4\)",
        ),
        (
            (np.zeros(4, bool), 16_000, None, None),
            "waveform: expected floats from -1 to 1 or signed integers, got bool",
        ),
        ((np.zeros(4), None, None, None), "sample_rate_hz: expected the sampling rate of `waveform`, got None"),
        (
            (None, None, FRAMES.astype(float), 10),
            r"frames: expected \(n, height, width, 3\) of uint8 in RGB, got .* of float64",
        ),
        ((None, None, FRAMES, None), "fps: expected the pictures per second of `frames`, got None"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, arrays: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write_clip(tmp_path, *arrays)
