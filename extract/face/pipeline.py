"""From the videos of a chunk to the face features of their utterances.

`decode_video` runs in threads, one video each, ahead of the networks; `face_entries` feeds the decoded frames to
`FaceBatches` and yields the entries in the order of the utterances. batching.py shows the queues between them.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...shared.config.settings import FaceSettings
from ...shared.errors import MediaError
from ...shared.parallel.prefetch import prefetch
from ...shared.parallel.resources import MIN_DECODE_BYTES
from ...shared.store.shard import Entry
from ...shared.timing import face_times
from ...shared.utterance import Utterance
from ..media.media_group import MediaGroup, Results, check_times
from ..media.video import FULL, NoVideoTrackError, Segment, Video, open_video
from .batching import FaceBatches, FaceExtractor
from .tracker import FrameSample, Track


@dataclass(frozen=True, kw_only=True)
class VideoPlan:
    """What follows for each utterance of a video.

    Attributes:
        lengths: number of frames of its features.
        declared: number of frames that the file's header declares; None if unknown.
        early: number of frames before the first one of the video.
        problems: error of utterances that get no frames, by their number.
    """

    lengths: list[int]
    declared: list[int | None]
    early: list[int]
    problems: dict[int, MediaError]


@dataclass(frozen=True, kw_only=True)
class DecodedFrame:
    """A frame of the `number`-th utterance of its video."""

    number: int
    sample: FrameSample


VideoEvent = VideoPlan | DecodedFrame | tuple[Utterance, Entry | MediaError]
"""First a plan, then frames; or results alone, where the video has no frames."""


@dataclass(frozen=True, kw_only=True)
class _OpenGroup:
    """A media group in progress: the tracks of its utterances, or their results where the video has no frames."""

    group: MediaGroup
    tracks: list[Track]
    results: list[tuple[Utterance, Entry | MediaError]]
    problems: dict[int, MediaError]

    @property
    def finished(self) -> bool:
        return all(track.finished for track in self.tracks)


def face_entries(
    groups: Sequence[MediaGroup], extractor: FaceExtractor, *, decoders: int, budget: int = MIN_DECODE_BYTES
) -> Results:
    """Extract the features of all utterances, in the order given.

    Args:
        groups: the videos with their utterances. One that cannot be decoded costs its own utterances only.
        extractor: detector and encoder.
        decoders: number of videos decoded at the same time.
        budget: bytes of frames decoded ahead.

    Raises:
        DecodeFallbackError: decord failed on a video; redo the groups with backend="pyav" for it.
        Exception: any error of the networks.
    """
    batches = FaceBatches(extractor)
    open_groups: deque[_OpenGroup] = deque()
    jobs = [partial(decode_video, group, extractor.settings, extractor.encoder.width) for group in groups]
    with prefetch(jobs, threads=decoders, size=_image_bytes, budget=budget) as queues:
        for group, queue in zip(groups, queues, strict=True):
            current = _OpenGroup(group=group, tracks=[], results=[], problems={})
            open_groups.append(current)
            for event in queue:
                if isinstance(event, VideoPlan):
                    width, choose = extractor.encoder.width, extractor.settings.choose
                    for length, declared, early in zip(event.lengths, event.declared, event.early, strict=True):
                        track = Track.empty(length, width, declared, choose=choose)
                        track.early = early
                        current.tracks.append(track)
                    current.problems.update(event.problems)
                elif isinstance(event, DecodedFrame):
                    batches.push(current.tracks[event.number], event.sample)
                else:
                    current.results.append(event)
            for track in current.tracks:
                batches.end(track)
            while open_groups and open_groups[0].finished:
                yield from _results(open_groups.popleft(), extractor.settings)
    batches.finish()
    for current in open_groups:
        yield from _results(current, extractor.settings)


def decode_video(group: MediaGroup, settings: FaceSettings, width: int) -> Iterator[VideoEvent]:
    """Decode a video once for all its utterances; runs in a thread of its own.

    Args:
        group: the video and its utterances.
        settings: settings of the stream.
        width: numbers per embedding.

    Raises:
        DecodeFallbackError: decord failed; decode the video again with backend="pyav".
    """
    try:
        if group.path is None:
            yield from group.empty_entries((width,), group.missing_note)
            return
        video = open_video(group.path, backend=group.backend)
        plan, frames = _plan_video(video, group.utterances, settings.fps)
        boxes = [FULL if settings.region == "frame" else utterance.box for utterance in group.utterances]
    except NoVideoTrackError:
        yield from group.empty_entries((width,), "no video track")
    except Exception as error:
        yield from group.error_results(error)
    else:
        yield plan
        for number, position, image in video.crops(frames, boxes):
            yield DecodedFrame(number=number, sample=FrameSample(position=position, image=image))


def _plan_video(video: Video, utterances: Sequence[Utterance], fps: float) -> tuple[VideoPlan, list[NDArray[np.int64]]]:
    """Plan the frames of each utterance; those outside of the video get a problem and no frames."""
    plan = VideoPlan(lengths=[], declared=[], early=[], problems={})
    frames: list[NDArray[np.int64]] = []
    for number, utterance in enumerate(utterances):
        segment = Segment(start=utterance.start, end=utterance.end, fps=fps)
        indices = np.empty(0, np.int64)
        declared = None
        try:
            check_times(utterance)
            indices = video.plan(segment)
            declared = video.expected_frames(segment, indices)
        except MediaError as error:
            plan.problems[number] = error
        plan.lengths.append(len(indices))
        plan.declared.append(declared)
        plan.early.append(int(np.argmax(indices >= 0)) if (indices >= 0).any() else 0)
        frames.append(indices)
    return plan, frames


def _results(done: _OpenGroup, settings: FaceSettings) -> Results:
    yield from done.results
    for number, (utterance, track) in enumerate(zip(done.group.utterances, done.tracks, strict=False)):
        if number in done.problems:
            yield utterance, done.problems[number]
            continue
        entry = Entry(
            id=utterance.id,
            values=track.values,
            valid=track.valid,
            origin=float(face_times(utterance.start or 0.0, 0.0, settings.fps)[0]),
            source=utterance.source("face"),
            media=done.group.fingerprint,
            note=track.note(),
            boxes=track.boxes if settings.region == "face" else None,
            quality=track.quality(),
        )
        yield utterance, entry


def _image_bytes(event: VideoEvent) -> int:
    return event.sample.image.nbytes if isinstance(event, DecodedFrame) else 0
