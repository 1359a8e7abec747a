"""Decoding of audio of any container and rate to 16 kHz mono, cut at the times of the manifest."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from foal.extract.media.waveform import NoAudioTrackError, Waveform, is_utterance_clip
from foal.shared.errors import MediaError
from foal.shared.utterance import Utterance

CLICK_SECONDS = (0.5, 1.25, 2.0)


def clicks(rate: int, seconds: float = 2.5) -> np.ndarray:
    """Raised cosines of 2 ms with peaks at the click times, within the band of 8 kHz audio."""
    time = np.arange(round(seconds * rate)) / rate
    wave = np.zeros_like(time)
    for click in CLICK_SECONDS:
        click_range = np.abs(time - click) < 0.001
        wave[click_range] += 0.8 * np.cos((time[click_range] - click) / 0.001 * np.pi / 2) ** 2
    return wave.astype(np.float32)


def peaks(wave: np.ndarray) -> list[int]:
    """Sample numbers of the loudest sample near each click."""
    return [
        int(np.argmax(np.abs(wave[round((c - 0.1) * 16000) : round((c + 0.1) * 16000)]))) + round((c - 0.1) * 16000)
        for c in CLICK_SECONDS
    ]


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_clicks_in_wav_are_within_a_sample_of_their_time(tmp_path: Path, rate: int, channels: int) -> None:
    soundfile.write(tmp_path / "c.wav", np.tile(clicks(rate)[:, None], channels), rate)
    wave = Waveform(tmp_path / "c.wav").cut(None, None)
    assert abs(len(wave) - 40000) <= 1
    assert wave.dtype == np.float32
    np.testing.assert_allclose(peaks(wave), np.array(CLICK_SECONDS) * 16000, atol=1)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_every_sample_format_gives_the_same_waveform(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "c.wav", clicks(16000), 16000, subtype=subtype)
    np.testing.assert_allclose(Waveform(tmp_path / "c.wav").cut(None, None), clicks(16000), atol=1e-4)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = np.full(16000, 0.5), np.full(16000, -0.25)
    soundfile.write(tmp_path / "s.wav", np.stack([left, right], 1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(Waveform(tmp_path / "s.wav").cut(None, None), 0.125, atol=1e-6)


def test_a_segment_is_exact_to_the_sample(tmp_path: Path) -> None:
    ramp = np.arange(32000, dtype=np.float32) / 32000
    soundfile.write(tmp_path / "r.wav", ramp, 16000, subtype="FLOAT")
    waveform = Waveform(tmp_path / "r.wav")
    np.testing.assert_array_equal(waveform.cut(0.25, 1.5), ramp[4000:24000])
    np.testing.assert_array_equal(waveform.cut(1.5, None), ramp[24000:])
    np.testing.assert_array_equal(waveform.cut(1.9, 7.0), ramp[30400:])
    with pytest.raises(MediaError, match=r"expected audio from 3 s on, got a file of 2.00 s"):
        waveform.cut(3.0, 4.0)


def utterance(start: float, end: float, audio: str = "x.wav") -> Utterance:
    return Utterance(id="Ses01F_impro01_F000", session="session1", audio=audio, start=start, end=end)


@pytest.mark.parametrize(
    ("seconds", "start", "end", "is_clip"),
    [
        (2.5, 61.3, 63.8, True),
        (2.5, 0.0, 2.5, False),
        (90.0, 61.3, 63.8, False),
        (2.2, 0.05, 2.2, False),
        (2.15, 0.05, 2.2, True),
        (2.0, 1.0, 5.0, False),
    ],
)
def test_clips_of_the_length_of_their_utterance_are_recognized(
    seconds: float, start: float, end: float, is_clip: bool
) -> None:
    assert is_utterance_clip(seconds, utterance(start, end)) is is_clip


def test_clips_named_by_the_id_are_recognized_at_any_length() -> None:
    assert is_utterance_clip(2.9, utterance(1.0, 3.5, "wav/Ses01F_impro01_F000.wav"))
    assert not is_utterance_clip(3.6, utterance(1.0, 3.5, "wav/Ses01F_impro01_F000.wav"))
    assert not is_utterance_clip(2.9, Utterance(id="a", session="s", audio="a.wav", start=1.0))


def test_a_clip_is_decoded_completely(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "sentence.wav", clicks(16000), 16000)
    assert len(Waveform(tmp_path / "sentence.wav").cut(61.3, 63.8, whole=True)) == 40000


def test_a_track_that_begins_late_is_preceded_by_silence(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for number in range(50):
            image.pts = number
            container.mux(video.encode(image))
        container.mux(video.encode())
        tone = av.AudioFrame.from_ndarray(np.full((1, 16000), 9000, np.int16), format="s16", layout="mono")
        tone.sample_rate, tone.pts = 16000, 8000
        container.mux(audio.encode(tone))
        container.mux(audio.encode())
    wave = Waveform(path).cut(None, None)
    assert abs(int(np.argmax(np.abs(wave) > 0.1)) - 8000) <= 1
    assert abs(len(wave) - 24000) <= 1


def test_a_video_without_audio_track_is_refused(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    with pytest.raises(NoAudioTrackError):
        Waveform(make_video(tmp_path / "silent.mp4"))


@pytest.mark.parametrize("name", ["t.wav", "t.mp4", "t.mp3"])
def test_text_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("This is text, no audio.\n" * 50)
    with pytest.raises(MediaError, match="cannot be"):
        Waveform(tmp_path / name)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        Waveform(tmp_path / "none.wav")
    with pytest.raises(MediaError, match="got a folder"):
        Waveform(tmp_path)


def test_nan_samples_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "n.wav", np.full(1600, np.nan, np.float32), 16000, subtype="FLOAT")
    with pytest.raises(MediaError, match="NaN"):
        Waveform(tmp_path / "n.wav")


def test_declared_sizes_are_not_allocated(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.flac", np.zeros(16000), 16000)
    content = bytearray((tmp_path / "s.flac").read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    (tmp_path / "s.flac").write_bytes(content)
    waveform = Waveform(tmp_path / "s.flac")
    assert waveform.mono.nbytes < 1 << 20
    assert waveform.declared == pytest.approx(2**36 / 16000, rel=1e-3)
    soundfile.write(tmp_path / "s.wav", np.zeros(16000), 16000)
    intact = (tmp_path / "s.wav").read_bytes()
    for offset, field_format, value, message in (
        (22, "<H", 65535, "cannot be read"),
        (24, "<I", 1, "expected a sample rate"),
        (24, "<I", 0, "cannot be read"),
        (24, "<I", 2_000_000_000, "expected a sample rate"),
    ):
        content = bytearray(intact)
        struct.pack_into(field_format, content, offset, value)
        (tmp_path / "s.wav").write_bytes(content)
        with pytest.raises(MediaError, match=message):
            Waveform(tmp_path / "s.wav")
