"""What became of a chunk, and of an utterance that could not be extracted."""

import json
from dataclasses import dataclass
from hashlib import blake2b

from ...shared.utterance import Utterance
from .plan import Chunk

MEND = "mend or replace the file, or take the row out of the manifest; then run the same command again"
CHECK = "check the encoder's weights and extract.precision; --retry-failed tries it again"
DIED = (
    "convert the file (for example with ffmpeg) or take the row out of the manifest; if memory was short, let fewer "
    "workers share it (--workers), and try it again with --retry-failed"
)
HUNG = (
    "copy or convert the file, or take the row out of the manifest; if disk or machine were only slow, raise "
    "extract.patience, and try it again with --retry-failed"
)

CHANGED = "changed"
"""The fingerprint of a file that changed while it was read: no file has it, so the utterance is tried again."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An utterance that could not be extracted: in which stream, from which file, why, and what to do.

    `source` is the stretch of the file and `fingerprint` what the file then was ("": it could not be read).
    """

    id: str
    split: str
    modality: str
    media: str
    reason: str
    remedy: str
    source: str
    fingerprint: str

    def state(self, key: str) -> str:
        """What it was that failed, with the encoder of this `key`: while that is the same, so will be the outcome."""
        return state_of(key, self.source, self.fingerprint)


def state_of(key: str, source: str, fingerprint: str) -> str:
    """A hash of all on which it depends whether an utterance can be extracted."""
    return blake2b(json.dumps([key, source, fingerprint]).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """What became of a chunk, and the seconds that it took its worker."""

    chunk: Chunk
    frames: int
    failures: tuple[Failure, ...]
    took: float = 0.0


def failure_of(chunk: Chunk, utterance: Utterance, reason: str, fingerprint: str, *, remedy: str = MEND) -> Failure:
    """The failure of one of a chunk's utterances."""
    return Failure(
        id=utterance.id, split=chunk.split, modality=chunk.stream, media=utterance.media(chunk.modality), reason=reason,
        remedy=remedy, source=utterance.source(chunk.modality), fingerprint=fingerprint,
    )  # fmt: skip
