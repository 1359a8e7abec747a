"""Decoded clicks are within one sample at 16 kHz of their time, for every container, codec, rate and layout.

With a video, the time of a click is that of the video frames; a single track begins at zero.
"""

import tracemalloc
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from av.packet import Packet

from foal.extract.media.waveform import Waveform
from foal.shared.errors import MediaError
from foal.tests.click_tracks import CLICKS, Packets, click_offsets, clicks, video_shift, write_track

RATES = {
    "libopus": (8000, 16000, 48000),
    "libmp3lame": (16000, 44100, 48000),
    "aac": (8000, 16000, 44100, 48000),
}
LOSSLESS = (8000, 16000, 44100, 48000)
# Samples of encoder delay, which FLV does not record.
ENCODER_DELAY = {"aac": 1024, "libmp3lame": 1105}


def constant_wave(rate: int) -> np.ndarray:
    """A constant 0.5 instead of clicks, which makes every silent sample visible."""
    return np.full(round(2.5 * rate), 0.5, np.float32)


def delay_packet(packet: Packet, ticks: int) -> None:
    assert packet.pts is not None
    packet.pts += ticks


CASES = [
    *product(["mp4", "mkv"], ["aac", "libmp3lame", "libopus", "flac", "alac"]),
    ("mkv", "pcm_s16le"),
    ("mov", "pcm_s24le"),
    ("flv", "aac"),
    ("flv", "libmp3lame"),
]


def each_rate(cases: Sequence[tuple[str, str]]) -> list[tuple[str, str, int]]:
    pairs = [(suffix, codec, rate) for suffix, codec in cases for rate in RATES.get(codec, LOSSLESS)]
    return [pair for pair in pairs if pair != ("flv", "libmp3lame", 16000)]


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"), each_rate([*CASES, ("mp3", "libmp3lame"), ("ogg", "libopus"), ("flac", "flac")])
)
def test_clicks_of_a_single_track_are_on_time(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    for layout in ("mono", "stereo") if codec == "libmp3lame" else ("mono", "stereo", "5.1"):
        wave = Waveform(write_track(tmp_path / f"c.{suffix}", codec, rate, layout)).cut(None, None)
        # FLV does not record the encoder delay, so the clicks are late by this delay, as in any player.
        late = ENCODER_DELAY[codec] / rate if suffix == "flv" else 0.0
        np.testing.assert_allclose(click_offsets(wave, np.add(CLICKS, late)), 0, atol=1, err_msg=layout)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize(("suffix", "codec", "rate"), each_rate([*CASES, ("ts", "aac")]))
def test_clicks_of_a_track_with_video_are_on_time(
    tmp_path: Path, suffix: str, codec: str, rate: int, b_frames: int
) -> None:
    path = write_track(tmp_path / f"c.{suffix}", codec, rate, "stereo", b_frames=b_frames)
    wave = Waveform(path).cut(None, None)
    np.testing.assert_allclose(click_offsets(wave, np.add(CLICKS, video_shift(path))), 0, atol=1)


@pytest.mark.parametrize("flags", ["frag_keyframe+empty_moov", "frag_keyframe+delay_moov"])
def test_clicks_in_fragments_without_edit_lists_are_on_time(tmp_path: Path, flags: str) -> None:
    """The muxer stamps only the first packet 80 ms early; the other packets determine its time."""
    path = write_track(tmp_path / "c.mp4", "flac", 48000, b_frames=2, options={"movflags": flags})
    wave = Waveform(path).cut(None, None)
    np.testing.assert_allclose(click_offsets(wave, np.add(CLICKS, video_shift(path))), 0, atol=1)


def test_the_first_packet_of_a_fragment_follows_the_others(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    path = write_track(tmp_path / "c.mp4", "flac", 48000, b_frames=2, wave=constant_wave, options=options)
    assert video_shift(path) == pytest.approx(0.08)
    np.testing.assert_array_equal(Waveform(path).mono != 0, np.arange(123840) >= 3840)


def test_clicks_in_matroska_rounded_like_mkvmerge_are_on_time(tmp_path: Path) -> None:
    """Other muxers round the sum of time stamp and CodecDelay; FFmpeg rounds each of them."""

    def round_times(packets: Packets) -> Packets:
        for number, packet in enumerate(packets):
            packet.pts = packet.dts = 48 * (round(number * 1024 / 48) - 21)
        return packets

    path = write_track(tmp_path / "c.mkv", "aac", 48000, b_frames=0, change=round_times)
    np.testing.assert_allclose(click_offsets(Waveform(path).cut(None, None)), 0, atol=1)


def presentation_time(packet: Packet) -> Fraction:
    assert packet.pts is not None
    return packet.pts * packet.time_base


def drop_packets(first: float, last: float) -> Callable[[Packets], Packets]:
    return lambda packets: [packet for packet in packets if not first < float(presentation_time(packet)) < last]


@pytest.mark.parametrize("b_frames", [None, 2])
@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [
        ("mp4", "aac", 44100),
        ("mkv", "libopus", 48000),
        ("mkv", "pcm_s16le", 16000),
        ("mkv", "aac", 48000),
        ("flv", "aac", 44100),
        ("ts", "libmp3lame", 48000),
    ],
)
def test_a_gap_is_silent_and_later_clicks_are_on_time(
    tmp_path: Path, suffix: str, codec: str, rate: int, b_frames: int | None
) -> None:
    complete = Waveform(write_track(tmp_path / f"w.{suffix}", codec, rate, b_frames=b_frames)).cut(None, None)
    path = write_track(tmp_path / f"h.{suffix}", codec, rate, b_frames=b_frames, change=drop_packets(0.8, 1.6))
    with_gap = Waveform(path).cut(None, None)
    assert abs(len(with_gap) - len(complete)) <= 1
    assert not with_gap[round(1.0 * 16000) : round(1.5 * 16000)].any()
    # The second click is in the gap; the others keep their times.
    click_times = np.add(CLICKS, click_offsets(complete) / 16000)
    np.testing.assert_allclose(click_offsets(with_gap, click_times[::2]), 0, atol=1)


def test_a_single_lost_packet_is_no_gap(tmp_path: Path) -> None:
    complete = Waveform(write_track(tmp_path / "w.mkv", "aac", 44100)).mono
    shortened = Waveform(write_track(tmp_path / "l.mkv", "aac", 44100, change=drop_packets(0.8, 0.82))).mono
    assert len(shortened) == len(complete) - 1024


def test_jitter_of_time_stamps_does_not_shift_the_audio(tmp_path: Path) -> None:
    def jitter(packets: Packets) -> Packets:
        for number, packet in enumerate(packets):
            delay_packet(packet, number * 7919 % 1500)  # up to 34 ms
        return packets

    reference = Waveform(write_track(tmp_path / "c.mkv", "flac", 44100)).mono
    np.testing.assert_array_equal(
        Waveform(write_track(tmp_path / "j.mkv", "flac", 44100, change=jitter)).mono, reference
    )


@pytest.mark.parametrize("invalid", [1, 20])
def test_invalid_time_stamps_do_not_shift_the_audio(tmp_path: Path, invalid: int) -> None:
    def delay_packets(packets: Packets) -> Packets:
        for packet in packets[40 : 40 + invalid]:
            delay_packet(packet, 5 * 44100)
        return packets

    reference = Waveform(write_track(tmp_path / "c.mkv", "aac", 44100)).mono
    np.testing.assert_array_equal(
        Waveform(write_track(tmp_path / "s.mkv", "aac", 44100, change=delay_packets)).mono, reference
    )


def test_missing_first_time_stamps_do_not_shift_the_audio(tmp_path: Path) -> None:
    """AAC in LOAS: FFmpeg stamps no packet of the first second."""
    path = tmp_path / "c.loas"
    with av.open(str(path), "w", format="latm") as container:
        audio = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(clicks(44100)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux([*audio.encode(frame), *audio.encode()])
    wave = Waveform(path).cut(None, None)
    np.testing.assert_allclose(click_offsets(wave, np.add(CLICKS, 1024 / 44100)), 0, atol=1)


def damage_packets(first: int, last: int) -> Callable[[Packets], Packets]:
    def damage(packets: Packets) -> Packets:
        for number, packet in list(enumerate(packets))[first:last]:
            packets[number] = Packet(b"\x7f" * packet.size)
            for name in ("stream", "time_base", "pts", "dts", "duration"):
                setattr(packets[number], name, getattr(packet, name))
        return packets

    return damage


def test_clicks_after_damaged_packets_are_on_time(tmp_path: Path) -> None:
    wave = Waveform(write_track(tmp_path / "d.mkv", "aac", 44100, change=damage_packets(35, 45))).cut(None, None)
    np.testing.assert_allclose(click_offsets(wave, CLICKS[1:]), 0, atol=1)


def test_a_track_of_damaged_packets_only_is_an_error(tmp_path: Path) -> None:
    path = write_track(tmp_path / "d.mkv", "aac", 44100, change=damage_packets(0, 1000))
    with pytest.raises(MediaError, match="the audio cannot be decoded"):
        Waveform(path)


def test_a_changing_sample_rate_is_decoded(tmp_path: Path) -> None:
    parts = [write_track(tmp_path / f"{rate}.aac", "aac", rate).read_bytes() for rate in (44100, 22050)]
    (tmp_path / "both.aac").write_bytes(b"".join(parts))
    assert Waveform(tmp_path / "both.aac").seconds == pytest.approx(5.0, abs=0.2)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "flac"])
def test_channels_are_averaged_in_every_sample_format(tmp_path: Path, codec: str) -> None:
    levels = np.array([0.75, -0.25, 0.5, 0.0, -0.5, 0.25], np.float32)
    path = tmp_path / "m.mkv"
    with av.open(str(path), "w") as container:
        audio = container.add_stream(codec, rate=16000, layout="5.1")
        assert isinstance(audio, av.AudioStream)
        samples = np.repeat(levels[:, None], 4000, axis=1)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="5.1")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux([*audio.encode(frame), *audio.encode()])
    np.testing.assert_allclose(Waveform(path).cut(None, None), np.full(4000, levels.mean()), atol=1e-4)


@pytest.mark.parametrize("suffix", ["wav", "mkv"])
def test_memory_is_limited_to_the_mono_signal(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"long.{suffix}"
    samples = np.zeros((60 * 48000, 2), np.int16)
    soundfile.write(tmp_path / "long.wav", samples, 48000)
    if suffix == "mkv":
        with av.open(str(tmp_path / "long.wav")) as source, av.open(str(path), "w") as copy:
            stream = copy.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux(audio=0):
                if packet.size:
                    packet.stream = stream
                    copy.mux(packet)
    del samples
    tracemalloc.start()
    try:
        mono = Waveform(path).mono
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert mono.nbytes == 4 * 60 * 48000
    assert peak < 1.3 * mono.nbytes
