"""Plan the chunks: pure functions that group the utterances left to extract into tasks, one shard each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...shared.config.settings import modality_of
from ...shared.files.part import Part
from ...shared.files.unicode_names import nfc
from ...shared.store.catalog import shard_name
from ...shared.timing import Seconds
from ...shared.utterance import TEXT, Utterance, splits_of

MIN_CHUNK_SECONDS: Seconds = 60.0
MAX_CHUNK_SECONDS: Seconds = 600.0
"""Of one layer: a worker holds the features of a chunk, for wav2vec2-base 92 MB in ten minutes."""

MAX_CHUNKS = 2000
"""Per stream: every command looks at the size and time of each shard."""

MAX_CHUNKS_PER_GPU_WORKER = 64
"""A GPU computes a minute of media in a fraction of a second, and a scheduler starts few tasks per second."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One task and one shard: utterances of one split in one stream; those of a media file are never separated.

    `seconds` are those of the media, for text of reading it aloud; `context` previous turns are read by a text encoder.
    """

    stream: str
    split: str
    utterances: tuple[Utterance, ...]
    seconds: Seconds
    context: int = 0

    @property
    def modality(self) -> str:
        """The modality of its stream."""
        return modality_of(self.stream)

    @property
    def name(self) -> str:
        """The shard's file name, a function of its utterances alone."""
        return shard_name(self.modality, self.utterances, self.context)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker gets: of the turns before its utterances only those that the encoder reads."""
        return self.__dict__ | {"utterances": tuple(utterance.detached(self.context) for utterance in self.utterances)}

    def source(self, utterance: Utterance) -> str:
        """What the features of one of its utterances come from, see `Utterance.source`."""
        return utterance.source(self.modality, self.context)


def chunk_length(left: Seconds, *, setting: Seconds, layers: int = 1, gpu_workers: int = 0) -> Seconds:
    """Seconds of media per chunk of a stream: one minute, and more where there would be too many chunks.

    Args:
        left: seconds that are left to extract in the stream, those of the part in a run with `--part`.
        setting: extract.chunk_seconds, which decides if it is not 0.
        layers: number of layers that are stored. The chunks are shorter in proportion, but never below a minute.
        gpu_workers: number of workers that have GPUs; 0 without GPUs, or if the workers are unknown.

    Returns:
        The seconds after which a chunk is complete. They do not decrease with `left`.
    """
    if setting:
        return setting
    chunks = min(MAX_CHUNKS, MAX_CHUNKS_PER_GPU_WORKER * gpu_workers) if gpu_workers else MAX_CHUNKS
    return max(MIN_CHUNK_SECONDS, min(left / chunks, MAX_CHUNK_SECONDS / layers))


def plan_chunks(
    utterances: Sequence[Utterance],
    stream: str,
    lengths: Mapping[str, Seconds],
    *,
    chunk_seconds: Seconds,
    context: int = 0,
) -> list[Chunk]:
    """Cut utterances into chunks, in the manifest's order: a chunk ends once it holds `chunk_seconds` of media.

    A media file is never split, because it is decoded once for all its utterances. The chunks depend only on the
    arguments. If a set of shards is lost, their utterances are therefore cut into the same shards again, as long as
    `chunk_seconds` is the same; with another length they are in other shards, with the same features.

    Args:
        utterances: the utterances to extract, of any splits.
        stream: the stream that the chunks belong to.
        lengths: seconds of each utterance, by id.
        chunk_seconds: seconds of media after which a chunk is complete.
        context: previous turns that a text encoder reads.

    Returns:
        The chunks, split after split.
    """

    def chunk(split: str, members: Sequence[Utterance], seconds: Seconds) -> Chunk:
        return Chunk(stream=stream, split=split, utterances=tuple(members), seconds=seconds, context=context)

    chunks: list[Chunk] = []
    for split, members in splits_of(utterances).items():
        collected: list[Utterance] = []
        seconds = 0.0
        for group in _media_groups(members, modality_of(stream)):
            collected += group
            seconds += sum(lengths[utterance.id] for utterance in group)
            if seconds >= chunk_seconds:
                chunks.append(chunk(split, collected, seconds))
                collected = []
                seconds = 0.0
        if collected:
            chunks.append(chunk(split, collected, seconds))
    return chunks


def in_part(utterance: Utterance, part: Part) -> bool:
    """Whether an utterance belongs to a part, in all streams: decided by its video, else its audio file, else its id.

    The utterances of a file are in one part, so that it is decoded once. Where the rows name both a video and an audio
    file, this holds for the video, which costs more. Other rows have no influence: a new row moves none.
    """
    return part.holds(nfc(utterance.video or utterance.audio or utterance.id))


def group_by_media(chunk: Chunk) -> list[Chunk]:
    """Split a chunk into one per media file, in the order in which the files first occur."""
    share = chunk.seconds / len(chunk.utterances)
    return [
        replace(chunk, utterances=tuple(group), seconds=share * len(group))
        for group in _media_groups(chunk.utterances, chunk.modality)
    ]


def bisect(chunk: Chunk) -> list[Chunk]:
    """Split a chunk in two, between files or, if it has one file only, between utterances; [] for one utterance."""
    groups = [list(part.utterances) for part in group_by_media(chunk)]
    if len(groups) == 1:
        groups = [[utterance] for utterance in chunk.utterances]
    if len(groups) == 1:
        return []
    share = chunk.seconds / len(chunk.utterances)
    middle = len(groups) // 2
    halves = [[utterance for group in half for utterance in group] for half in (groups[:middle], groups[middle:])]
    return [replace(chunk, utterances=tuple(half), seconds=share * len(half)) for half in halves]


def _media_groups(utterances: Sequence[Utterance], modality: str) -> list[list[Utterance]]:
    """The utterances of each media file, in the order in which the files first occur; for text, of each utterance."""
    if modality == TEXT:
        return [[utterance] for utterance in utterances]
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(utterance.media(modality), []).append(utterance)
    return list(groups.values())
