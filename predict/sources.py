"""What is to be predicted: media files, folders, patterns, manifests and lists of paths become utterances."""

import glob
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from ..manifests.media import AUDIO_SUFFIXES, VIDEO_SUFFIXES, scan_media
from ..shared.errors import FoalError
from ..shared.files.unicode_names import spelled_on_disk
from ..shared.manifest import check_media, read_manifest
from ..shared.text import counted, quoted
from ..shared.utterance import Utterance

STDIN = "-"
MANIFEST_SUFFIX = ".csv"
TEXT_BYTES = 4096
FACE_PART = re.compile(r"#face[0-9]+(?=#|\Z)")
CLIPS = "clips"
"""The corpus of media files that belong to no manifest."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Clips:
    """What is to be predicted.

    Attributes:
        utterances: with absolute paths of their media. The id of a media file is its absolute path, so that its
            features are found again by another call.
        names: the name of each utterance in tables and files, by id.
    """

    utterances: tuple[Utterance, ...]
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, utterance_id: str) -> str:
        """The name of an utterance."""
        return self.names.get(utterance_id, utterance_id)


def find_clips(sources: Sequence[str], *, root: Path, lines: Iterable[str] | None = None) -> Clips:
    """Find the utterances that some words of a command line name.

    Args:
        sources: media files, folders (with their sub-folders), patterns such as "clips/*.mp4", manifests (.csv), or `-`
            for a list of paths, one a line.
        root: folder that the paths of a manifest are relative to; where its first file is not there, the manifest's own
            folder.
        lines: the list of `-` (default: standard input).

    Returns:
        The utterances in the order of the sources; a file that is named twice is predicted once.

    Raises:
        FoalError: a source does not exist, is text, or cannot be read, nothing is found, or a manifest has bad rows.
    """
    utterances: list[Utterance] = []
    names: dict[str, str] = {}
    for source in _expanded(sources, lines):
        path = Path(source)
        found: list[tuple[Utterance, str]]
        if path.is_dir():
            found = list(_in_folder(path))
        elif path.suffix.lower() == MANIFEST_SUFFIX:
            found = [(utterance, utterance.id) for utterance in _in_manifest(path, root)]
        elif is_text(path):
            raise FoalError(
                f"{path}: expected a media file, a folder, a manifest (.csv) or -, got a text file; if it is a list of "
                f"paths, give it as `foal predict - < {path}`"
            )
        else:
            found = [(file_utterance(path), path.name)]
        for utterance, name in found:
            if utterance.id in names:
                continue
            names[utterance.id] = name
            utterances.append(utterance)
    if not utterances:
        raise FoalError(f"expected media files, got none in {', '.join(map(quoted, sources))}")
    return Clips(utterances=tuple(utterances), names=_unique(names))


def file_utterance(path: Path) -> Utterance:
    """The utterance of a whole media file; whether it has sound or pictures is found out when it is decoded."""
    absolute = os.path.abspath(path)
    # Features are kept by folder: a command reads the tables of those folders only that its clips are in.
    folder = blake2b(os.path.dirname(absolute).encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return Utterance(id=absolute, corpus=CLIPS, session=f"{CLIPS}-{folder}", audio=absolute, video=absolute)


def is_text(path: Path) -> bool:
    """Whether a file that is no manifest and has no suffix of audio or video contains text: FFmpeg would draw it."""
    if path.suffix.lower() in (MANIFEST_SUFFIX, *AUDIO_SUFFIXES, *VIDEO_SUFFIXES) or not path.is_file():
        return False
    with suppress(OSError, UnicodeDecodeError), path.open("rb") as file:
        beginning = file.read(TEXT_BYTES)
        # A character may be cut at the end.
        text = beginning.decode("utf-8") if len(beginning) < TEXT_BYTES else beginning[:-4].decode("utf-8", "replace")
        return bool(text) and "\0" not in text and "\ufffd" not in text[:-1]
    return False


def part_of(utterance: Utterance, part: str, **changes: object) -> Utterance:
    """A part of an utterance: a stretch of its time or of its pictures; `part` becomes part of the id."""
    return replace(utterance, id=f"{utterance.id}#{part}", **changes)  # type: ignore[arg-type]


def clip_of_face(utterance: Utterance) -> Utterance:
    """The utterance with the id that it has without `--faces all`: only features of faces depend on the face."""
    return replace(utterance, id=FACE_PART.sub("", utterance.id))


def face_of(utterance_id: str) -> str:
    """The face that an utterance is predicted by, such as "face2"; empty without `--faces all`."""
    found = FACE_PART.search(utterance_id)
    return "" if found is None else found[0].removeprefix("#")


def _expanded(sources: Sequence[str], lines: Iterable[str] | None) -> Iterator[str]:
    """The sources with lists read and patterns matched. Raises FoalError for a source that does not exist."""
    for source in sources:
        if source == STDIN:
            listed = [line.rstrip("\r\n") for line in (sys.stdin if lines is None else lines)]
            yield from _expanded([line for line in listed if line.strip() and line != STDIN], None)
        elif os.path.lexists(source):
            yield source
        elif glob.has_magic(source):
            matches = sorted(glob.glob(source, recursive=True))
            if not matches:
                raise FoalError(f"{source}: no file matches this pattern")
            texts = [match for match in matches if is_text(Path(match))]
            if texts:
                log.info(f"{source}: not taken, as they are text: {', '.join(texts[:5])}{', ...' * (len(texts) > 5)}")
            yield from (match for match in matches if match not in texts)
        else:
            raise FoalError(f"{source}: no such file or folder")


def _in_folder(folder: Path) -> Iterator[tuple[Utterance, str]]:
    try:
        scan = scan_media(folder)
    except OSError as error:
        raise FoalError(f"{error.filename}: cannot be read: {error.strerror}") from None
    for note in (*scan.notes(), *scan.warnings()):
        log.info(f"{folder}: {note}")
    for path in sorted([*scan.audio, *scan.video]):
        yield file_utterance(path), scan.name(path)


def _in_manifest(path: Path, root: Path) -> Iterator[Utterance]:
    utterances = read_manifest(path)
    check_media(utterances, path)
    first = next((media for u in utterances for media in (u.audio, u.video) if media), "")
    base = next((folder for folder in (root, path.parent) if (folder / spelled_on_disk(folder, first)).exists()), root)
    log.info(f"{path}: {counted(len(utterances), 'utterance')}, media below {base}")

    def absolute(media: str) -> str:
        return os.path.abspath(base / spelled_on_disk(base, media)) if media else ""

    for utterance in utterances:
        yield replace(utterance, audio=absolute(utterance.audio), video=absolute(utterance.video))


def _unique(names: Mapping[str, str]) -> dict[str, str]:
    """The names, where several are equal with as many of the parent folders as tell them apart."""
    result = dict(names)
    depth = 1
    while len(repeated := _repeated(result)) and depth < 64:
        depth += 1
        for utterance_id in repeated:
            result[utterance_id] = "/".join(Path(utterance_id).parts[-depth:]).replace("//", "/")
    return result


def _repeated(names: Mapping[str, str]) -> list[str]:
    owners: dict[str, list[str]] = {}
    for utterance_id, name in names.items():
        owners.setdefault(name, []).append(utterance_id)
    return [utterance_id for ids in owners.values() if len(ids) > 1 for utterance_id in ids]
