"""The files of a corpus: which are audio, which are video, and which were left out."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..shared.errors import ManifestError
from ..shared.files.recognize import LFS_REMEDY, is_lfs_pointer

# A list of our own: FFmpeg recognizes a file by its content, and its demuxers name no suffix for MPEG-TS, VOB, WMA or
# WAV, but .txt, .gif and .heic. These are the suffixes of the audio and video formats that PyAV opens.
# fmt: off
AUDIO_SUFFIXES = frozenset({
    ".aac", ".ac3", ".adts", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".awb", ".bwf", ".caf", ".dts", ".eac3",
    ".flac", ".gsm", ".m4a", ".m4b", ".mka", ".mp2", ".mp3", ".mpa", ".mpga", ".nist", ".oga", ".ogg", ".opus", ".ra",
    ".rf64", ".snd", ".sph", ".spx", ".tta", ".voc", ".w64", ".wav", ".wave", ".weba", ".wma", ".wv",
})
VIDEO_SUFFIXES = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gxf", ".h264", ".h265", ".hevc",
    ".ismv", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4",
    ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob",
    ".webm", ".wmv", ".wtv", ".xvid", ".y4m",
})
# fmt: on
NO_SUFFIX = "without a suffix"
NO_MEDIA = "no suffix of audio or video"


@dataclass(kw_only=True)
class MediaScan:
    """The files below a folder, in a fixed order, without hidden ones (macOS leaves `._*` twins).

    Attributes:
        root: the folder.
        audio, video: media files.
        left_out: number of files that were not taken, by suffix and reason.
        pointers: media files that are Git LFS pointers; they are in `audio` and `video` as well.
    """

    root: Path
    audio: list[Path] = field(default_factory=list)
    video: list[Path] = field(default_factory=list)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    pointers: list[Path] = field(default_factory=list)

    def name(self, path: Path) -> str:
        """The path as written in the manifest, relative to the root."""
        return path.relative_to(self.root).as_posix()

    def leave_out(self, path: Path, reason: str) -> None:
        """Count a file that is not taken."""
        self.left_out[path.suffix.lower() or NO_SUFFIX, reason] += 1

    def notes(self) -> list[str]:
        """One line for each reason, with the number of files by suffix."""
        by_reason: dict[str, list[str]] = {}
        for (suffix, reason), count in sorted(self.left_out.items(), key=lambda item: (-item[1], item[0])):
            by_reason.setdefault(reason, []).append(f"{count:,} {suffix}")
        return [f"files not taken: {', '.join(suffixes)} ({reason})" for reason, suffixes in by_reason.items()]

    def warnings(self) -> list[str]:
        """A warning about media files that Git LFS has not fetched."""
        if not self.pointers:
            return []
        number = len(self.pointers)
        what = "1 media file is a Git LFS pointer" if number == 1 else f"{number:,} media files are Git LFS pointers"
        return [f"{what}, not the media, the first: {self.name(self.pointers[0])}; {LFS_REMEDY}"]


def scan_media(root: Path) -> MediaScan:
    """List the media files below a folder.

    Raises:
        OSError: a folder cannot be read; without its files the corpus would be incomplete.
    """
    scan = MediaScan(root=root)
    for path in sorted(_files(root)):
        suffix = path.suffix.lower()
        kinds = [(AUDIO_SUFFIXES, scan.audio), (VIDEO_SUFFIXES, scan.video)]
        found = next((files for suffixes, files in kinds if suffix in suffixes), None)
        if found is None:
            scan.leave_out(path, NO_MEDIA)
        elif path.is_file():
            found.append(path)
            if is_lfs_pointer(path):
                scan.pointers.append(path)
        else:
            scan.leave_out(path, "no file: a broken link, a pipe or a device")
    return scan


def require_corpus_root(root: Path, expected: str) -> Path:
    """Return the corpus root. Raises ManifestError if it is no folder; `expected` names its contents."""
    if not root.is_dir():
        problem = "it is a file" if root.exists() else "it does not exist"
        raise ManifestError(f"{root}: expected the corpus folder with {expected}, but {problem}")
    return root


def _files(root: Path) -> Iterator[Path]:
    """The files below a folder; links to folders outside of it are followed, each once."""
    inside, linked = root.resolve(), set[Path]()

    def is_read(path: Path) -> bool:
        if path.name.startswith("."):
            return False
        if not path.is_symlink():
            return True
        target = path.resolve()
        if target.is_relative_to(inside) or inside.is_relative_to(target) or target in linked:
            return False
        linked.add(target)
        return True

    for folder, subfolders, names in os.walk(root, onerror=_raise, followlinks=True):
        subfolders[:] = [name for name in subfolders if is_read(Path(folder, name))]
        for name in names:
            if not name.startswith("."):
                yield Path(folder, name)


def _raise(error: OSError) -> None:
    raise error
