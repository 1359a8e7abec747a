"""Headers of media files: refused files, and limits on declared sizes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from foal.extract.media.probe import check_frame_size, probe
from foal.shared.errors import MediaError

MakeVideo = Callable[..., Path]


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"]
)
def test_playlists_are_refused(tmp_path: Path, text: str) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(16000), 16000)
    (tmp_path / "list.mp4").write_text(text.format("s.wav"))
    with pytest.raises(MediaError, match="expected a media file"):
        probe(tmp_path / "list.mp4")


@pytest.mark.parametrize("name", ["x" * 300, "a/b", "here/x.wav", "circle"])
def test_unresolvable_paths_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "here").write_bytes(b"")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(MediaError, match=r"no such file|cannot be followed"):
        probe(tmp_path / name)


def test_frames_of_too_many_pixels_are_refused() -> None:
    with pytest.raises(MediaError, match="65535 x 65535"):
        check_frame_size(65535, 65535)
    check_frame_size(7680, 4320)


def test_the_header_of_a_video_is_read(tmp_path: Path, make_video: MakeVideo) -> None:
    header = probe(make_video(tmp_path / "v.mp4", frames=50))
    assert header.video_codec == "h264"
    assert header.video_frames == 50
    assert header.decoded_bytes == 50 * 160 * 96 * 3
    assert header.seconds == pytest.approx(2.0)
    assert header.video.track == pytest.approx(2.0)


def test_an_audio_file_has_no_video_codec(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(16000), 16000)
    header = probe(tmp_path / "s.wav")
    assert header.video_codec is None
    assert header.video_frames == 0
    assert header.seconds == pytest.approx(1.0)


def test_a_declared_duration_is_capped_by_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.flac"
    soundfile.write(path, np.zeros(16000), 16000)
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    assert probe(path).seconds == pytest.approx(path.stat().st_size / 10)


def test_a_pointer_of_git_lfs_is_named_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 72862\n")
    with pytest.raises(MediaError, match=r"got a Git LFS pointer instead of the file itself; .* `git lfs pull`"):
        probe(path)
