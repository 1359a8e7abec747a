"""Channels: their mean, or one of them; a mean in which they cancel is noticed."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from foal.extract.media.channels import Mixer
from foal.extract.media.waveform import Waveform
from foal.shared.errors import MediaError

RATE = 16000


def noise(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=RATE) / 9).astype(np.float32)


def write(path: Path, channels: list[np.ndarray]) -> Path:
    """Write channels as 16-bit PCM: WAV by libsndfile, Matroska by FFmpeg."""
    samples = np.stack(channels, 1)
    if path.suffix == ".wav":
        soundfile.write(path, samples, RATE)
        return path
    layout = {1: "mono", 2: "stereo", 4: "quad"}[len(channels)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout=layout)
        pcm = np.round(samples * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout=layout)
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["wav", "mkv"])
@pytest.mark.parametrize(("channel", "index"), [("left", 0), ("right", 1), (0, 0), (1, 1), (3, 3)])
def test_one_channel_is_taken(tmp_path: Path, suffix: str, channel: str | int, index: int) -> None:
    channels = [noise(number) for number in range(4)]
    wave = Waveform(write(tmp_path / f"s.{suffix}", channels), channel=channel)
    np.testing.assert_allclose(wave.mono, channels[index], atol=1e-4)
    assert not wave.cancelled


@pytest.mark.parametrize("suffix", ["wav", "mkv"])
def test_the_mean_is_the_default(tmp_path: Path, suffix: str) -> None:
    channels = [noise(1), noise(2)]
    np.testing.assert_allclose(
        Waveform(write(tmp_path / f"s.{suffix}", channels)).mono, np.mean(channels, 0), atol=1e-4
    )


@pytest.mark.parametrize("suffix", ["wav", "mkv"])
@pytest.mark.parametrize(
    ("channel", "channels", "message"),
    [
        (2, 2, r"expected channel 2, counted from 0 \(extract.audio.channel\), got a recording of 2 channels"),
        (1, 1, r"expected channel 1, .* got a recording of 1 channel$"),
        ("left", 1, r"expected a left channel .*, got a recording of 1 channel$"),
        ("right", 1, "expected a right channel"),
    ],
)
def test_a_channel_that_does_not_exist_is_an_error(
    tmp_path: Path, suffix: str, channel: str | int, channels: int, message: str
) -> None:
    path = write(tmp_path / f"s.{suffix}", [noise(number) for number in range(channels)])
    with pytest.raises(MediaError, match=message):
        Waveform(path, channel=channel)


@pytest.mark.parametrize("suffix", ["wav", "mkv"])
def test_channels_that_cancel_are_noticed(tmp_path: Path, suffix: str) -> None:
    first, second = noise(1), noise(2)
    assert Waveform(write(tmp_path / f"c.{suffix}", [first, -0.9 * first])).cancelled
    assert Waveform(write(tmp_path / f"n.{suffix}", [first, 0.2 * second - first])).cancelled
    intact = {
        "same": [first, first],
        "speakers": [first, second],
        "one_empty": [first, 0 * first],
        "silence": [0 * first, 0 * first],
        "microphones": [noise(number) for number in range(4)],
        "weakly_opposite": [first, second - 0.5 * first],
    }
    for name, channels in intact.items():
        assert not Waveform(write(tmp_path / f"{name}.{suffix}", channels)).cancelled


def test_the_energy_of_all_blocks_counts() -> None:
    mixer = Mixer()
    wave = noise(1)
    mixer.mono(np.stack([wave, -wave]))
    assert mixer.cancelled
    mixer.mono(np.stack([wave, wave]))
    assert not mixer.cancelled
