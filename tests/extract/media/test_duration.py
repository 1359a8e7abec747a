"""What files declare and what is decoded of them: healthy ones are whole, cut ones are marked by how much is gone."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from foal.extract.audio.pipeline import decode_audio
from foal.extract.media.audio_track import check_rate
from foal.extract.media.media_group import MediaGroup
from foal.extract.media.probe import check_frame_size, probe
from foal.extract.media.video import FULL, DecodeFallbackError, Segment, open_video
from foal.extract.media.waveform import Waveform
from foal.shared.errors import MediaError
from foal.shared.store.shard import Entry
from foal.shared.utterance import Utterance

MakeVideo = Callable[..., Path]
FILMS = [("v.mp4", "libx264"), ("v.mkv", "libx264"), ("v.avi", "mpeg4"), ("v.mov", "libx264")]


def share(path: Path, start: float | None = None, end: float | None = None) -> float | None:
    """How much of the declared sound of a stretch is there."""
    missing = Waveform(path).missing(start, end)
    return None if missing is None else 1 - missing[1] / missing[0]


def pictures(path: Path, **segment: float | None) -> tuple[int, int | None]:
    """Pictures decoded and declared of a stretch at 10 Hz, with whichever decoder gets through."""
    for backend in ("auto", "pyav"):
        video = open_video(path, backend=backend)
        wanted = Segment(start=segment.get("start"), end=segment.get("end"), fps=10)
        plan = video.plan(wanted)
        try:
            return len(list(video.crops([plan], [FULL]))), video.expected_frames(wanted, plan)
        except DecodeFallbackError:
            continue
    raise AssertionError


def cut(path: Path, part: float) -> Path:
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * part)])
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "au", "rf64"])
def test_a_sound_file_that_is_cut_off(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"s.{suffix.replace('rf64', 'wav')}"
    noise = np.random.default_rng(1).normal(size=48000) / 9
    soundfile.write(path, noise, 16000, format=suffix.upper())
    assert share(path) == share(path, 1.0, 2.0) == 1.0
    cut(path, 0.4)
    left = Waveform(path).seconds
    assert 0.9 < left < 1.25
    assert share(path) == pytest.approx(left / 3)
    assert share(path, 0.5, 2.0) == pytest.approx((left - 0.5) / 1.5)
    # What is there is there, and what nobody declares is not missing.
    assert share(path, 0.1, left) == 1.0
    assert share(path, 0.0, 99.0) == pytest.approx(left / 3)
    with pytest.raises(MediaError, match=r"got a file of .* s \(cut off: it declares 3.00 s\)"):
        Waveform(path).cut(2.0, 3.0)


@pytest.mark.parametrize(("field", "value"), [("data", 0xFFFFFFFF), ("data", 0x7FFFFFFF)])
def test_a_wav_from_a_pipe_declares_nothing(tmp_path: Path, field: str, value: int) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(16000), 16000)
    content = bytearray((tmp_path / "s.wav").read_bytes())
    struct.pack_into("<I", content, content.index(field.encode()) + 4, value)
    (tmp_path / "s.wav").write_bytes(content)
    assert share(tmp_path / "s.wav") is None
    assert Waveform(tmp_path / "s.wav").seconds == 1.0


@pytest.mark.parametrize(("name", "codec"), FILMS)
def test_a_film_that_is_cut_off(tmp_path: Path, make_video: MakeVideo, name: str, codec: str) -> None:
    path = make_video(tmp_path / name, frames=75, codec=codec, sound_hz=44100)
    assert share(path) == 1.0
    assert pictures(path) == (30, 30)
    if codec == "libx264" and name != "v.mkv":
        with av.open(str(path)) as source, av.open(str(tmp_path / "f.mp4"), "w", options=FAST_START) as target:
            streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    target.mux(packet)
        path = tmp_path / "f.mp4"
    cut(path, 0.6)
    got, declared = pictures(path)
    assert declared == 30
    assert 3 < got < 28
    assert pictures(path, start=0.0, end=0.2) == (2, 2)
    # The sound, written behind the pictures, may be gone; then there is nothing to say how much.
    missing = Waveform(path).missing(None, None)
    assert missing is None or missing[1] > 0


FAST_START = {"movflags": "faststart"}


def test_damage_in_the_middle_of_a_video(tmp_path: Path, make_video: MakeVideo) -> None:
    path = make_video(tmp_path / "v.mp4", frames=60, b_frames=2, damaged=slice(20, 24))
    got, declared = pictures(path)
    assert declared == 24
    assert 12 <= got < 24


def test_a_track_that_is_shorter_than_the_other_is_whole(tmp_path: Path, make_video: MakeVideo) -> None:
    for name in ("v.mkv", "v.mp4"):
        with av.open(str(tmp_path / name), "w") as container:
            video, audio = (
                container.add_stream("mpeg4", rate=25),
                container.add_stream("aac", rate=16000, layout="mono"),
            )
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for _ in range(75):
                frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode())
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 16000, 0
            container.mux(audio.encode(tone))
            container.mux(audio.encode())
        assert share(tmp_path / name) == 1.0
        assert pictures(tmp_path / name) == (30, 30)


def heard(path: Path, **segment: float) -> tuple[float | None, str | int]:
    utterance = Utterance(id="u", corpus="c", audio=path.name, **segment)
    part = MediaGroup(modality="audio", path=path, fingerprint="", utterances=[utterance])
    ((_, _, found),) = decode_audio(part, (4,))
    assert not isinstance(found, Entry)
    return (
        (None, str(found)) if isinstance(found, MediaError) else (found.missing and found.missing[1], len(found.wave))
    )


def test_what_is_left_of_a_dialog_is_not_taken_for_one_of_its_sentences(tmp_path: Path) -> None:
    """A dialog of 9 s, of which 2.5 s are left, beside a sentence of 2.5 s from its end."""
    soundfile.write(tmp_path / "d.wav", np.random.default_rng(1).normal(size=9 * 16000) / 9, 16000)
    cut(tmp_path / "d.wav", 2.5 / 9)
    assert "cut off: it declares 9.00 s" in str(heard(tmp_path / "d.wav", start=6.0, end=8.5)[1])
    soundfile.write(tmp_path / "s.wav", np.zeros(40000), 16000)
    assert heard(tmp_path / "s.wav", start=6.0, end=8.5) == (0.0, 40000)


@pytest.mark.parametrize(("start", "end"), [(0.0, 1e300), (1e300, 1e301), (0.0, 3e9)])
def test_centuries_are_refused_for_their_utterance(tmp_path: Path, start: float, end: float) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(16000), 16000)
    assert "mend it in the manifest" in str(heard(tmp_path / "s.wav", start=start, end=end)[1])


def test_sizes_that_are_declared_are_not_allocated(tmp_path: Path, make_video: MakeVideo) -> None:
    soundfile.write(tmp_path / "s.flac", np.zeros(16000), 16000)
    content = bytearray((tmp_path / "s.flac").read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    (tmp_path / "s.flac").write_bytes(content)
    sound = Waveform(tmp_path / "s.flac")
    assert sound.mono.nbytes < 1 << 20
    assert sound.declared == pytest.approx(2**36 / 16000, rel=1e-3)
    soundfile.write(tmp_path / "s.wav", np.zeros(16000), 16000)
    whole = (tmp_path / "s.wav").read_bytes()
    for place, form, value, words in (
        (22, "<H", 65535, "cannot be read"),
        (24, "<I", 1, "samples a second"),
        (24, "<I", 0, "cannot be read"),
        (24, "<I", 2_000_000_000, "samples a second"),
    ):
        content = bytearray(whole)
        struct.pack_into(form, content, place, value)
        (tmp_path / "s.wav").write_bytes(content)
        with pytest.raises(MediaError, match=words):
            Waveform(tmp_path / "s.wav")
    with pytest.raises(MediaError, match="65535 x 65535"):
        check_frame_size(65535, 65535)
    check_frame_size(7680, 4320)
    check_rate(8000)
    video = open_video(make_video(tmp_path / "v.mkv", frames=3, times_ms=[0, 40, 900_000_000]), backend="pyav")
    with pytest.raises(MediaError, match="3 pictures for"):
        video.plan(Segment(start=None, end=None, fps=10))
    assert len(video.plan(Segment(start=0.0, end=1.0, fps=10))) == 10


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"]
)
def test_a_list_of_other_files_is_no_media_file(tmp_path: Path, text: str) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(16000), 16000)
    (tmp_path / "list.mp4").write_text(text.format("s.wav"))
    with pytest.raises(MediaError, match="expected a media file"):
        probe(tmp_path / "list.mp4")


@pytest.mark.parametrize("name", ["x" * 300, "a/b", "here/x.wav", "circle"])
def test_a_path_that_cannot_be_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "here").write_bytes(b"")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(MediaError, match=r"no such file|cannot be followed"):
        probe(tmp_path / name)
