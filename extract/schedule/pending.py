"""What is left to extract: the manifest compared with the shards on disk and with the media."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ...shared.config.settings import Settings
from ...shared.errors import MediaError
from ...shared.store.catalog import MediaFingerprints, read_catalog
from ...shared.text import duration
from ...shared.timing import Seconds
from ...shared.utterance import Utterance, splits_of
from ..media.probe import probe
from .failures import Failure, Quarantine
from .plan import Chunk, plan_chunks
from .stream_spec import Recipe
from .timeouts import answers

BELIEVED: Seconds = 3600.0
"""A manifest's longer utterances are looked up in their media: a slip in `end` must not ask for a disk of its own."""

SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What is left to do; what failed before and is not tried again; shards that are damaged, by modality and key."""

    chunks: list[Chunk]
    standing: list[Failure]
    damaged: dict[Path, tuple[str, str]]


def pending_chunks(
    settings: Settings,
    utterances: list[Utterance],
    recipes: Sequence[Recipe],
    console: Console,
    quarantine: Quarantine | None = None,
) -> Pending:
    """What is left to do, the longest chunks first so that no worker is left with one at the end.

    With a `quarantine`, what stands in it is not tried again. Raises FutureError over shards of a newer foal.
    """
    features = settings.extract.features_dir
    left: dict[str, list[Utterance]] = {}
    standing: list[Failure] = []
    damaged: dict[Path, tuple[str, str]] = {}
    media = MediaFingerprints(settings.corpus.root)
    for recipe in recipes:
        modality, key = recipe.modality, recipe.header.config_hash
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
    chunks = sorted(_planned(settings, left, console), key=lambda chunk: -chunk.seconds)
    return Pending(chunks=chunks, standing=standing, damaged=damaged)


def _planned(settings: Settings, left: Mapping[str, Sequence[Utterance]], console: Console) -> Iterator[Chunk]:
    """What is left of each stream, in chunks."""
    everything = {u.id: u for todo in left.values() for u in todo}
    patience = settings.extract.task_timeout
    lengths, silent = _lengths(settings.corpus.root, everything.values(), patience)
    if silent:
        some = ", ".join(sorted(silent)[:SHOWN]) + (", ..." if len(silent) > SHOWN else "")
        console.print(
            f"warning: {len(silent)} file{'s' * (len(silent) > 1)} did not say within {duration(patience)} how long "
            f"{'they are' if len(silent) > 1 else 'it is'} ({some}); each is tried on its own, at the end"
        )
    for stream, todo in left.items():
        heard = [u for u in todo if not silent & {u.audio, u.video}]
        yield from plan_chunks(heard, stream, lengths, chunk_seconds=settings.extract.chunk_seconds)
        # A file that never answers costs its worker a deadline, and so would each half of a chunk that it is in.
        unheard = [u for u in todo if silent & {u.audio, u.video}]
        yield from plan_chunks(unheard, stream, lengths, chunk_seconds=0.0)


def _lengths(
    root: Path, utterances: Iterable[Utterance], patience: Seconds
) -> tuple[dict[str, Seconds], frozenset[str]]:
    """Seconds of each utterance, by id, and the files that did not answer (0 seconds, as of what is no media file).

    Those without an end, or of hours, are looked up in their media's header, each file once.
    """
    lengths: dict[str, Seconds] = {}
    unknown: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        seconds = utterance.seconds
        if seconds is not None and seconds < BELIEVED:
            lengths[utterance.id] = seconds
        else:
            unknown.setdefault(utterance.video or utterance.audio, []).append(utterance)

    def declared(media: str) -> Seconds:
        with suppress(MediaError):
            return probe(root / media).seconds or 0.0
        return 0.0

    found = answers(unknown, declared, patience=patience)
    for media, members in unknown.items():
        whole = found.get(media, 0.0)
        for utterance in members:
            lengths[utterance.id] = max(0.0, min(whole, utterance.end or whole) - (utterance.start or 0.0))
    return lengths, frozenset(unknown.keys() - found.keys())
