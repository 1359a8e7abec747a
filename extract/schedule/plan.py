"""What is left to extract, cut into chunks; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...shared.config.settings import modality_of
from ...shared.store.catalog import shard_name
from ...shared.timing import Seconds
from ...shared.utterance import Utterance, splits_of


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One task and one shard: utterances of one split in one stream, all those of a media file together."""

    stream: str
    split: str
    utterances: tuple[Utterance, ...]
    seconds: Seconds

    @property
    def modality(self) -> str:
        """The modality of its stream."""
        return modality_of(self.stream)

    @property
    def name(self) -> str:
        """The shard's file name: the same utterances give the same name."""
        return shard_name(self.modality, self.utterances)


def plan_chunks(
    utterances: Sequence[Utterance], stream: str, lengths: Mapping[str, Seconds], *, chunk_seconds: Seconds
) -> list[Chunk]:
    """Cut the unfinished utterances, in the manifest's order, wherever `chunk_seconds` are full.

    A media file is never split, since it is decoded once for all its utterances. The cut depends on nothing but the
    utterances given: if any set of shards is lost, what is left to do is cut into the very same shards again.
    """
    chunks: list[Chunk] = []
    for split, members in splits_of(utterances).items():
        collected: list[Utterance] = []
        seconds = 0.0
        for group in _media_groups(members, modality_of(stream)):
            collected += group
            seconds += sum(lengths[utterance.id] for utterance in group)
            if seconds >= chunk_seconds:
                chunks.append(Chunk(stream=stream, split=split, utterances=tuple(collected), seconds=seconds))
                collected, seconds = [], 0.0
        if collected:
            chunks.append(Chunk(stream=stream, split=split, utterances=tuple(collected), seconds=seconds))
    return chunks


def by_media(chunk: Chunk) -> list[Chunk]:
    """A chunk taken apart into one per media file."""
    share = chunk.seconds / len(chunk.utterances)
    return [
        replace(chunk, utterances=tuple(group), seconds=share * len(group))
        for group in _media_groups(chunk.utterances, chunk.modality)
    ]


def halves(chunk: Chunk) -> list[Chunk]:
    """A chunk cut in two, between files or, of a single file, between utterances; none for a single utterance."""
    groups = [list(piece.utterances) for piece in by_media(chunk)]
    if len(groups) == 1:
        groups = [[utterance] for utterance in chunk.utterances]
    if len(groups) == 1:
        return []
    share = chunk.seconds / len(chunk.utterances)
    halved = [[u for group in part for u in group] for part in (groups[: len(groups) // 2], groups[len(groups) // 2 :])]
    return [replace(chunk, utterances=tuple(half), seconds=share * len(half)) for half in halved]


def _media_groups(utterances: Sequence[Utterance], modality: str) -> list[list[Utterance]]:
    """The utterances of each media file together, in the order in which the files first come up."""
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(utterance.media(modality), []).append(utterance)
    return list(groups.values())
