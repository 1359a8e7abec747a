"""The spine of `foal inspect --contact-sheet`: which utterances to look at, what was seen, one picture of it all."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from ...shared.config.settings import modality_of
from ...shared.errors import StoreError, UsageError
from ...shared.manifest import check_inside
from ...shared.store.feature_store import FeatureStore, StreamInfo
from ...shared.utterance import Utterance
from .preview import USUAL_SIZE, Glimpse, Look, cut_settings, glimpses, media_of
from .sheet_layout import Cell, check_sheet, draw, write_sheet

MOST_CELLS = 240
"""More would make a picture that viewers refuse or shrink; so it has 35 million pixels at most."""

Groups = dict[str, list[int]]
"""Rows of the store by the name of their speaker."""


def make_sheet(
    out: Path,
    index: Path,
    *,
    root: Path,
    stream: str | None,
    per_speaker: int,
    speakers: int,
    console: Console,
    allow_outside: bool = False,
    force: bool = False,
) -> str:
    """Draw `per_speaker` utterances of up to `speakers` speakers (0: as many as fit); gives a line about it.

    Raises UsageError if there is no stream of pictures, or none of the media is below `root`; StoreError if no faces
    are cut out as the stream says; ManifestError if a path leads out of the root and may not.
    """
    check_sheet(out, force=force)
    with FeatureStore(index) as store:
        modality = picture_stream(store, stream)
        everyone = by_speaker(store.utterances)
        groups = choose(store.utterances, everyone, per_speaker=per_speaker, speakers=speakers)
        looks = {row: look(store, modality, row) for rows in groups.values() for row in rows}
        total, digest, packed = len(store), store.digest, store.packed_inside
    videos = media_of(looks.values())
    _check_root(root, videos, index)
    if not allow_outside:
        check_inside((look.utterance for look in looks.values()), root, index)

    found: dict[str, Glimpse] = {}
    what, silent = f"decoding {len(videos)} videos", not console.is_terminal
    for video, members in track(videos.items(), what, console=console, transient=True, disable=silent):
        found |= glimpses(root, video, members, modality)
    cells = {name: [_cell(looks[row], found, modality) for row in rows] for name, rows in groups.items()}
    taken = f"{len(looks):,} of {total:,} utterances, {len(groups):,} of {len(everyone):,} speakers"
    lines = [f"{index.name}, content {digest[:8]}: {taken}", _explained(modality, packed=packed)]
    faces = any(cell.face is not None for members in cells.values() for cell in members)
    random = " (random weights)" if modality.random_weights else ""
    write_sheet(out, draw(f"{modality.name}: {modality.encoder}{random}", lines, cells, faces=faces))
    return f"{out}: {taken}{_remedy(len(groups), len(everyone), speakers)}"


def picture_stream(store: FeatureStore, name: str | None) -> StreamInfo:
    """The stream of that name, or the first one of pictures.

    Raises UsageError if it has no pictures, StoreError if its faces cannot have been cut out as it says.
    """
    names = [stream for stream in store.streams if modality_of(stream) == "face"]
    if name is None and names:
        name = names[0]
    if name not in names:
        there = f"it holds pictures as {', '.join(names)}" if names else "it holds no features of pictures"
        raise UsageError(f"{store.path}: expected a stream of pictures, got {name or 'none'}; {there}")
    try:
        cut_settings(store.streams[name])
    except StoreError as error:
        raise StoreError(f"{store.path}: {error}") from None
    return store.streams[name]


def by_speaker(utterances: Sequence[Utterance]) -> Groups:
    """The rows of each speaker, in the order of the store; speakers of several corpora keep apart."""
    several = len({utterance.corpus for utterance in utterances}) > 1
    groups: Groups = {}
    for row, utterance in enumerate(utterances):
        name = utterance.speaker or "(no speaker)"
        groups.setdefault(f"{utterance.corpus}: {name}" if several else name, []).append(row)
    return groups


def choose(
    utterances: Sequence[Utterance], everyone: Mapping[str, list[int]], *, per_speaker: int, speakers: int
) -> Groups:
    """The rows to look at: always the same ones, spread over the speakers and over each one's utterances."""
    most = MOST_CELLS // per_speaker
    names = list(everyone)
    taken = np.linspace(0, len(names) - 1, min(len(names), speakers or most, most)).round().astype(int)
    labels = [utterance.label for utterance in utterances]
    return {names[number]: spread(everyone[names[number]], labels, per_speaker) for number in taken}


def spread(rows: Sequence[int], labels: Sequence[str], count: int) -> list[int]:
    """One of each of `count` equal stretches of the rows, of the label taken least so far, nearest to the middle."""
    taken: Counter[str] = Counter()
    chosen = []
    for part in np.array_split(np.asarray(rows), min(count, len(rows))):
        middle = (len(part) - 1) / 2
        ranked = sorted(range(len(part)), key=lambda at: (taken[labels[int(part[at])]], abs(at - middle)))
        chosen.append(int(part[ranked[0]]))
        taken[labels[chosen[-1]]] += 1
    return chosen


def look(store: FeatureStore, modality: StreamInfo, row: int) -> Look:
    """Where to look at an utterance: at the valid frame nearest to its middle, without one at the middle itself."""
    valid = store.packed(modality.name, [row]).valid
    places = np.flatnonzero(valid) if valid.any() else np.arange(len(valid))
    position = min(places.tolist(), key=lambda at: abs(at - (len(valid) - 1) / 2), default=None)
    boxes = store.boxes(modality.name, row)
    box = None
    if boxes is not None and position is not None and np.isfinite(boxes[position]).all():
        box = boxes[position]
    return Look(
        utterance=store.utterances[row],
        position=position,
        box=box,
        frames=len(valid),
        valid=int(valid.sum()),
        note=store.notes(modality.name)[row],
    )


def _check_root(root: Path, videos: Mapping[str, Sequence[Look]], index: Path) -> None:
    wanted = f"expected the corpus root (--root, key corpus.root) that the paths of {index} start from"
    if not root.is_dir():
        raise UsageError(f"{root}: {wanted}, got no such folder")
    if videos and not any((root / video).is_file() for video in videos):
        raise UsageError(f"{root}: {wanted}, got a folder without {next(iter(videos))} and all the others")


def _remedy(shown: int, there: int, speakers: int) -> str:
    """How to see the speakers that were left out."""
    if shown == there:
        return ""
    return "; --speakers 0 shows as many as fit" if shown == speakers else "; with a smaller --per-speaker more fit"


def _cell(seen: Look, found: Mapping[str, Glimpse], modality: StreamInfo) -> Cell:
    utterance = seen.utterance
    glimpse = found.get(utterance.id, Glimpse(problem=seen.note or "no picture"))
    details = [] if utterance.crop == "full" else [utterance.crop]
    if glimpse.seconds is not None:
        details.append(f"{glimpse.seconds:.2f} s")
    if seen.frames:
        details.append(f"{seen.valid}/{seen.frames} {'faces' if _view(modality) == 'face' else 'pictures'}")
    return Cell(
        name=utterance.id,
        label=utterance.label or "(no label)",
        detail=" · ".join(details),
        picture=glimpse.picture,
        face=glimpse.face,
        problem=glimpse.problem,
        mark="" if seen.valid else "no face" if _view(modality) == "face" else "not valid",
    )


def _explained(modality: StreamInfo, *, packed: bool) -> str:
    """What the cells show, in a sentence or two."""
    moment = "at the valid frame nearest to the middle of the utterance"
    if _view(modality) != "face":
        what = "The whole picture" if _view(modality) == "frame" else "The person's part of the picture"
        return f"{what} {moment}."
    if packed:
        return (
            f"The person's part of the picture {moment}. A packed file holds no boxes: "
            "look at the index over the shards to see the faces."
        )
    size = cut_settings(modality).size or USUAL_SIZE
    return (
        f"The person's part of the picture {moment}, with the box of the face; beside it the face as the encoder "
        f"gets it{f' ({size} x {size} pixels)' if size != USUAL_SIZE else ''}."
    )


def _view(modality: StreamInfo) -> str:
    """What the encoder saw; of imported features it is not known, and the person's part is shown."""
    return str(modality.config.get("view", "crop"))
