"""From videos to the embeddings of their utterances: decoded ahead, detected and encoded in batches across them."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...shared.config.settings import FaceSettings
from ...shared.errors import MediaError
from ...shared.parallel.prefetch import prefetch
from ...shared.store.shard import Entry
from ...shared.timing import face_times
from ...shared.utterance import Utterance
from ..media.media_group import Part, Results, check_stretch
from ..media.video import FULL, NoVideoTrackError, Stretch, Video, VideoDamagedError
from .batching import FaceBatches, FacePath
from .tracker import Shot, Track

QUEUE_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Of each utterance of a video, the number of pictures that will come, and that the file declares (None: of none);
    no pictures will come of those with a problem, by their number.
    """

    lengths: list[int]
    declared: list[int | None]
    problems: dict[int, MediaError]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture of the `number`-th utterance."""

    number: int
    shot: Shot


Seen = Planned | Shown | tuple[Utterance, Entry | MediaError]
"""First a plan, then pictures; or at once what comes of the utterances."""


class DamagedError(Exception):
    """decord gave up on this video; the chunk is to be done again with PyAV for it."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


@dataclass(frozen=True, kw_only=True)
class _Open:
    """A part on its way: the tracks of its utterances, or at once what comes of them."""

    part: Part
    tracks: list[Track]
    results: list[tuple[Utterance, Entry | MediaError]]
    problems: dict[int, MediaError]

    @property
    def finished(self) -> bool:
        return all(track.finished for track in self.tracks)


def face_entries(parts: Sequence[Part], path: FacePath, *, decoders: int) -> Results:
    """The features of all utterances, in the order given; a video that cannot be read costs its own only.

    Raises DamagedError for a video that decord gives up on; what the networks raise is raised.
    """
    batches = FaceBatches(path)
    waiting: deque[_Open] = deque()
    jobs = [partial(see, part, path.settings, path.encoder.width) for part in parts]
    with prefetch(jobs, threads=decoders, size=_bytes, budget=QUEUE_BYTES) as queues:
        for part, queue in zip(parts, queues, strict=True):
            current = _Open(part=part, tracks=[], results=[], problems={})
            waiting.append(current)
            for item in queue:
                if isinstance(item, Planned):
                    lengths = zip(item.lengths, item.declared, strict=True)
                    current.tracks.extend(
                        Track.empty(length, path.encoder.width, expected) for length, expected in lengths
                    )
                    current.problems.update(item.problems)
                elif isinstance(item, Shown):
                    batches.push(current.tracks[item.number], item.shot)
                else:
                    current.results.append(item)
            for track in current.tracks:
                batches.end(track)
            while waiting and waiting[0].finished:
                yield from _results(waiting.popleft(), path.settings)
    batches.finish()
    for rest in waiting:
        yield from _results(rest, path.settings)


def see(part: Part, settings: FaceSettings, width: int) -> Iterator[Seen]:
    """Decode a video once for all its utterances; in a thread of its own."""
    try:
        if part.path is None:
            yield from part.without((width,), part.unnamed)
            return
        video = Video(part.path, patiently=part.patiently)
        planned, plans = _planned(video, part.utterances, settings.fps)
        boxes = [FULL if settings.region == "frame" else utterance.box for utterance in part.utterances]
    except NoVideoTrackError:
        yield from part.without((width,), "no video track")
    except Exception as error:
        yield from part.failed(error)
    else:
        yield planned
        try:
            for number, position, picture in video.pictures(plans, boxes):
                yield Shown(number=number, shot=Shot(position=position, picture=picture))
        except VideoDamagedError:
            # From the start again with the patient decoder: mixing the two would depend on how far decord ran ahead.
            raise DamagedError(part.path) from None


def _planned(video: Video, utterances: Sequence[Utterance], fps: float) -> tuple[Planned, list[NDArray[np.int64]]]:
    """What will come of each utterance, and which frames it wants; nothing of those that want what no video has."""
    planned, plans = Planned(lengths=[], declared=[], problems={}), []
    for number, utterance in enumerate(utterances):
        stretch = Stretch(start=utterance.start, end=utterance.end, fps=fps)
        plan, declared = np.empty(0, np.int64), None
        try:
            check_stretch(utterance)
            plan = video.plan(stretch)
            declared = video.looks(stretch, plan)
        except MediaError as error:
            planned.problems[number] = error
        planned.lengths.append(len(plan))
        planned.declared.append(declared)
        plans.append(plan)
    return planned, plans


def _results(done: _Open, settings: FaceSettings) -> Results:
    yield from done.results
    for number, (utterance, track) in enumerate(zip(done.part.utterances, done.tracks, strict=False)):
        yield (
            utterance,
            done.problems.get(number)
            or Entry(
                id=utterance.id,
                values=track.values,
                valid=track.valid,
                origin=float(face_times(utterance.start or 0.0, 0.0, settings.fps)[0]),
                source=utterance.source("face"),
                media=done.part.fingerprint,
                note=track.note(),
                boxes=track.boxes if settings.region == "face" else None,
                quality=track.quality(),
            ),
        )


def _bytes(item: Seen) -> int:
    return item.shot.picture.nbytes if isinstance(item, Shown) else 0
