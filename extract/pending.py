"""What is left to extract: the manifest compared with the shards on disk and with the media."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ..shared.catalog import Media, read_catalog
from ..shared.errors import MediaError
from ..shared.settings import Settings
from ..shared.timing import Seconds
from ..shared.utterance import Utterance, splits_of
from .plan import Chunk, plan_chunks
from .probe import probe
from .recipe import Recipe


def pending_chunks(
    settings: Settings, utterances: list[Utterance], recipes: Sequence[Recipe], console: Console
) -> list[Chunk]:
    """What is left to do, the longest chunks first so that no worker is left with one at the end."""
    features, root = settings.extract.features, settings.corpus.root
    left: dict[str, list[Utterance]] = {}
    media = Media(root)
    for recipe in recipes:
        modality, key = recipe.modality, recipe.header.key
        catalog = read_catalog(features, modality, key, splits_of(utterances), verify=settings.extract.verify)
        for path, reason in catalog.damaged.items():
            console.print(f"warning: {path}: {reason}; its utterances are extracted again")
        left[recipe.stream] = [u for u in utterances if catalog.find(u, modality, media) is None]
        finished = len(utterances) - len(left[recipe.stream])
        console.print(
            f"{recipe.stream} ({modality}-{key[:8]}): {finished} of {len(utterances)} utterances already extracted"
        )
    lengths = _lengths(root, {u.id: u for todo in left.values() for u in todo}.values())
    chunks = [
        chunk
        for stream, todo in left.items()
        for chunk in plan_chunks(todo, stream, lengths, chunk_seconds=settings.extract.chunk_seconds)
    ]
    return sorted(chunks, key=lambda chunk: -chunk.seconds)


def _lengths(root: Path, utterances: Iterable[Utterance]) -> dict[str, Seconds]:
    """Seconds of each utterance; those without an end are looked up in their media's header."""

    def length(utterance: Utterance) -> Seconds:
        if utterance.seconds is not None:
            return utterance.seconds
        with suppress(MediaError):
            declared = probe(root / (utterance.video or utterance.audio)).seconds or 0.0
            return max(0.0, declared - (utterance.start or 0.0))
        return 0.0

    todo = list(utterances)
    with ThreadPoolExecutor(8) as threads:
        return dict(zip((utterance.id for utterance in todo), threads.map(length, todo), strict=True))
