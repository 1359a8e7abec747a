"""The contact sheet of `foal inspect --contact-sheet`: sampled utterances, one frame of each, one PNG."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...shared.cli.progress import progress_display
from ...shared.config.settings import modality_of
from ...shared.errors import FoalError, StoreError, UsageError
from ...shared.files.unicode_names import locate
from ...shared.manifest import check_inside
from ...shared.store.feature_store import FeatureStore, StreamInfo
from ...shared.text import counted
from ...shared.utterance import Utterance
from .preview import (
    DEFAULT_FACE_SIZE,
    FramePreview,
    PreviewRequest,
    crop_settings,
    group_by_video,
    previews,
    stream_detector,
)
from .sheet_layout import Cell, check_sheet, draw, write_sheet

MAX_CELLS = 240
"""Maximum cells: 35 million pixels; viewers refuse or scale down larger images."""

Groups = dict[str, list[int]]
"""Rows of the store by speaker."""


def make_sheet(
    out: Path,
    index: Path,
    *,
    root: Path,
    stream: str | None,
    per_speaker: int,
    speakers: int,
    allow_outside: bool = False,
    force: bool = False,
) -> str:
    """Write a contact sheet.

    Args:
        out: the PNG to write.
        index: the feats.h5.
        root: the corpus root.
        stream: name of a face stream; None for the first one.
        per_speaker: utterances per speaker.
        speakers: maximum of speakers; 0 for as many as fit.
        allow_outside: read media whose path leads out of the root.
        force: replace a file that is no contact sheet.

    Returns:
        A line about it for the console.

    Raises:
        UsageError: no face stream, no media below `root`, or `out` may not be replaced.
        StoreError: the stream's configuration is not one of foal's.
        ManifestError: a path leads out of the root.
    """
    check_sheet(out, force=force)
    with FeatureStore(index) as store:
        info = face_stream(store, stream)
        by_name = by_speaker(store.utterances)
        groups = sample_rows(store.utterances, by_name, per_speaker=per_speaker, speakers=speakers)
        requests = {row: preview_request(store, info, row) for rows in groups.values() for row in rows}
        total = len(store)
        digest = store.digest
        packed = store.packed_inside
    videos = group_by_video(requests.values())
    _check_root(root, videos, index)
    if not allow_outside:
        check_inside((request.utterance for request in requests.values()), root, index)

    detector = None if packed or _region(info) != "face" else stream_detector(info)
    decoded: dict[str, FramePreview] = {}
    title = f"decoding {len(videos)} videos"
    with progress_display(title, total=len(videos), unit="videos", line_seconds=None) as display:
        for video, members in videos.items():
            decoded |= previews(root, video, members, info, detector)
            display.advance()
    cells = {name: [_cell(requests[row], decoded, info) for row in rows] for name, rows in groups.items()}
    counts = f"{len(requests):,} of {total:,} utterances, {len(groups):,} of {len(by_name):,} speakers"
    lines = [f"{index.name}, content {digest[:8]}: {counts}", _caption(info, packed=packed)]
    faces = any(cell.face is not None for members in cells.values() for cell in members)
    random = " (random weights)" if info.random_weights else ""
    write_sheet(out, draw(f"{info.name}: {info.encoder}{random}", lines, cells, faces=faces))
    return f"{out}: {counts}{_hint(len(groups), len(by_name), speakers)}"


def face_stream(store: FeatureStore, name: str | None) -> StreamInfo:
    """The face stream of that name, or the first one.

    Raises UsageError if there is none, StoreError if its configuration is not one of foal's.
    """
    names = [stream for stream in store.streams if modality_of(stream) == "face"]
    if name is None and names:
        name = names[0]
    if name not in names:
        available = f"it contains {', '.join(names)}" if names else "it contains no face features"
        raise UsageError(f"{store.path}: expected a face stream, got {name or 'none'}; {available}")
    try:
        crop_settings(store.streams[name])
    except StoreError as error:
        raise StoreError(f"{store.path}: {error}") from None
    return store.streams[name]


def by_speaker(utterances: Sequence[Utterance]) -> Groups:
    """Rows of each speaker, in the order of the store; speakers of different corpora are kept apart."""
    several = len({utterance.corpus for utterance in utterances}) > 1
    groups: Groups = {}
    for row, utterance in enumerate(utterances):
        name = utterance.speaker or "(no speaker)"
        groups.setdefault(f"{utterance.corpus}: {name}" if several else name, []).append(row)
    return groups


def sample_rows(
    utterances: Sequence[Utterance], groups: Mapping[str, list[int]], *, per_speaker: int, speakers: int
) -> Groups:
    """Sample the rows to show, deterministically: spread evenly over speakers, and over the utterances of each.

    Args:
        utterances: all utterances of the store.
        groups: their rows by speaker.
        per_speaker: rows per speaker.
        speakers: maximum of speakers; 0 for as many as fit.
    """
    limit = MAX_CELLS // per_speaker
    names = list(groups)
    numbers = np.linspace(0, len(names) - 1, min(len(names), speakers or limit, limit)).round().astype(int)
    labels = [utterance.label for utterance in utterances]
    return {names[number]: sample_evenly(groups[names[number]], labels, per_speaker) for number in numbers}


def sample_evenly(rows: Sequence[int], labels: Sequence[str], count: int) -> list[int]:
    """Sample one row of each of `count` equal sections: of the label sampled least so far, nearest to the middle."""
    label_counts: Counter[str] = Counter()
    sampled = []
    for section in np.array_split(np.asarray(rows), min(count, len(rows))):
        middle = (len(section) - 1) / 2
        ranks = [(label_counts[labels[int(row)]], abs(at - middle), at) for at, row in enumerate(section)]
        sampled.append(int(section[min(ranks)[2]]))
        label_counts[labels[sampled[-1]]] += 1
    return sampled


def preview_request(store: FeatureStore, stream: StreamInfo, row: int) -> PreviewRequest:
    """Request the valid frame nearest to the middle of an utterance; without one, the middle frame."""
    valid = store.packed(stream.name, [row]).valid
    candidates = np.flatnonzero(valid) if valid.any() else np.arange(len(valid))
    position = min(candidates.tolist(), key=lambda at: abs(at - (len(valid) - 1) / 2), default=None)
    boxes = store.boxes(stream.name, row)
    box = None
    if boxes is not None and position is not None and np.isfinite(boxes[position]).all():
        box = boxes[position]
    return PreviewRequest(
        utterance=store.utterances[row],
        position=position,
        box=box,
        frames=len(valid),
        valid=int(valid.sum()),
        note=store.notes(stream.name)[row],
    )


def _check_root(root: Path, videos: Mapping[str, Sequence[PreviewRequest]], index: Path) -> None:
    expected = f"expected the corpus root (--root, key corpus.root) of the paths in {index}"
    if not root.is_dir():
        raise FoalError(f"{root}: {expected}, but it does not exist")
    if videos and not any(locate(root, video).is_file() for video in videos):
        raise FoalError(f"{root}: {expected}, got a folder without any of the videos, such as {next(iter(videos))}")


def _hint(shown: int, total: int, speakers: int) -> str:
    """How to show the speakers that were left out."""
    if shown == total:
        return ""
    return "; --speakers 0 shows as many as fit" if shown == speakers else "; a smaller --per-speaker shows more"


def _cell(request: PreviewRequest, decoded: Mapping[str, FramePreview], stream: StreamInfo) -> Cell:
    utterance = request.utterance
    preview = decoded.get(utterance.id, FramePreview(problem=request.note or "no frame"))
    details = [] if utterance.crop == "full" else [utterance.crop]
    if preview.seconds is not None:
        details.append(f"{preview.seconds:.2f} s")
    if request.frames:
        details.append(f"{request.valid}/{request.frames} {'faces' if _region(stream) == 'face' else 'frames'}")
    if preview.others:
        details.append(f"{counted(preview.others, 'other')} here")
    return Cell(
        name=utterance.id,
        label=utterance.label or "(no label)",
        detail=" · ".join(details),
        picture=preview.picture,
        face=preview.face,
        problem=preview.problem,
        mark="" if request.valid else "no face" if _region(stream) == "face" else "not valid",
    )


def _caption(stream: StreamInfo, *, packed: bool) -> str:
    """Explanation of the cells, in one or two sentences."""
    moment = "at the valid frame nearest to the middle of the utterance"
    if _region(stream) != "face":
        part = "The whole frame" if _region(stream) == "frame" else "The speaker's part of the frame"
        return f"{part} {moment}."
    if packed:
        return (
            f"The speaker's part of the frame {moment}. A packed file contains no boxes: "
            "inspect the index over the shards to see the faces."
        )
    size = crop_settings(stream).size or DEFAULT_FACE_SIZE
    return (
        f"The speaker's part of the frame {moment}, with the box of the face (thin: other faces); next to it the input "
        f"of the encoder{f' ({size} x {size} pixels)' if size != DEFAULT_FACE_SIZE else ''}."
    )


def _region(stream: StreamInfo) -> str:
    """Region that the encoder got: face, crop or frame. Unknown of imported features; the crop is shown for them."""
    return str(stream.config.get("region", "crop"))
