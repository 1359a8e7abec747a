"""What became of a chunk, and of an utterance that could not be extracted."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..shared.utterance import Utterance
from .plan import Chunk


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An utterance that could not be extracted: in which modality, from which file, and why."""

    id: str
    split: str
    modality: str
    media: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """What became of a chunk."""

    chunk: Chunk
    frames: int
    failures: tuple[Failure, ...]


def chunk_failed(chunk: Chunk, reason: str) -> ChunkResult:
    """The result of a chunk of which nothing came."""
    return ChunkResult(chunk=chunk, frames=0, failures=failures_of(chunk, chunk.utterances, reason))


def failures_of(chunk: Chunk, utterances: Iterable[Utterance], reason: str) -> tuple[Failure, ...]:
    """The failure of some of a chunk's utterances, all for one reason."""
    return tuple(
        Failure(
            id=utterance.id,
            split=chunk.split,
            modality=chunk.stream,
            media=utterance.media(chunk.modality),
            reason=reason,
        )
        for utterance in utterances
    )
