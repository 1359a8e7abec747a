"""What is left to extract: the manifest compared with the shards on disk and with the media."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ..shared.catalog import Media, read_catalog
from ..shared.errors import MediaError
from ..shared.settings import Settings
from ..shared.timing import Seconds
from ..shared.utterance import Utterance, splits_of
from .failure import Failure
from .plan import Chunk, plan_chunks
from .probe import probe
from .quarantine import Quarantine
from .recipe import Recipe

BELIEVED: Seconds = 3600.0
"""A manifest's longer utterances are looked up in their media: a slip in `end` must not ask for a disk of its own."""


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What is left to do; what failed before and is not tried again; shards that are damaged, by modality and key."""

    chunks: list[Chunk]
    standing: list[Failure]
    damaged: dict[Path, tuple[str, str]]


def pending_chunks(
    settings: Settings, utterances: list[Utterance], recipes: Sequence[Recipe], console: Console,
    quarantine: Quarantine | None = None,
) -> Pending:  # fmt: skip
    """What is left to do, the longest chunks first so that no worker is left with one at the end.

    With a `quarantine`, what stands in it is not tried again. Raises FutureError over shards of a newer foal.
    """
    features, root = settings.extract.features, settings.corpus.root
    left: dict[str, list[Utterance]] = {}
    standing: list[Failure] = []
    damaged: dict[Path, tuple[str, str]] = {}
    media = Media(root)
    for recipe in recipes:
        modality, key = recipe.modality, recipe.header.key
        catalog = read_catalog(features, modality, key, splits_of(utterances), verify=settings.extract.verify)
        for path, reason in catalog.damaged.items():
            console.print(f"warning: {path}: {reason}; its utterances are extracted again")
            damaged[path] = modality, key
        todo = [u for u in utterances if catalog.find(u, modality, media) is None]
        failed = {u.id: f for u in todo if quarantine is not None and (f := quarantine.standing(u, recipe)) is not None}
        standing += failed.values()
        left[recipe.stream] = [u for u in todo if u.id not in failed]
        console.print(
            f"{recipe.stream} ({modality}-{key[:8]}): {len(utterances) - len(todo)} of {len(utterances)} utterances "
            "already extracted" + (f", {len(failed)} failed before (--retry-failed tries them again)" if failed else "")
        )
    lengths = _lengths(root, {u.id: u for todo in left.values() for u in todo}.values())
    chunks = [
        chunk
        for stream, todo in left.items()
        for chunk in plan_chunks(todo, stream, lengths, chunk_seconds=settings.extract.chunk_seconds)
    ]
    return Pending(chunks=sorted(chunks, key=lambda chunk: -chunk.seconds), standing=standing, damaged=damaged)


def _lengths(root: Path, utterances: Iterable[Utterance]) -> dict[str, Seconds]:
    """Seconds of each utterance; those without an end, or of hours, are looked up in their media's header."""

    def length(utterance: Utterance) -> Seconds:
        if utterance.seconds is not None and utterance.seconds < BELIEVED:
            return utterance.seconds
        with suppress(MediaError):
            declared = probe(root / (utterance.video or utterance.audio)).seconds or 0.0
            return max(0.0, min(declared, utterance.end or declared) - (utterance.start or 0.0))
        return 0.0

    todo = list(utterances)
    with ThreadPoolExecutor(8) as threads:
        return dict(zip((utterance.id for utterance in todo), threads.map(length, todo), strict=True))
