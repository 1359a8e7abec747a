"""What an extraction would cost: utterances, hours, bytes, and its time after a trial on this machine."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.filesize import decimal
from rich.table import Table

from ...shared.config.settings import Settings
from ...shared.errors import MediaError
from ...shared.parallel.resources import local_resources
from ...shared.store.shard import Entry
from ...shared.text import duration
from ...shared.timing import Seconds
from ..media.video_reader import DecodeFallbackError
from .plan import Chunk, by_media
from .stream_spec import Recipe
from .worker import Encoders, media_group

TRIAL_SECONDS: Seconds = 10.0
TRIES = 5
START_SECONDS: Seconds = 10.0
"""Until workers are up; the rest of the estimate is measured."""


def estimate(settings: Settings, chunks: Sequence[Chunk], recipes: Sequence[Recipe]) -> Table:
    """A table of the features that are left to extract, with a bottom line."""
    of_settings = settings.extract
    machine = local_resources(settings.cluster, decode_threads=of_settings.decode_threads)
    torch.set_num_threads(machine.threads)
    device = torch.device("cuda" if machine.devices else "cpu")
    encoders = Encoders(of_settings, {recipe.stream: recipe for recipe in recipes}, device)
    table = Table("features", "utterances", "media", "shards", "size", "time of one worker", show_footer=True)
    for column in table.columns[1:]:
        column.justify = "right"
    size_all, seconds_all = 0.0, 0.0
    for recipe in recipes:
        todo = [chunk for chunk in chunks if chunk.stream == recipe.stream]
        if not todo:
            continue
        hours = sum(chunk.seconds for chunk in todo) / 3600
        size = hours * 3600 * encoders.bytes_per_second(recipe.stream)
        cost = _trial(todo, encoders, settings.corpus.root, settings, machine.decode_threads)
        size_all += size
        seconds_all += 0.0 if cost is None else cost * hours * 3600
        table.add_row(
            recipe.stream,
            str(sum(len(chunk.utterances) for chunk in todo)),
            f"{hours:.2f} h",
            str(len(todo)),
            decimal(round(size)),
            "unknown" if cost is None else duration(cost * hours * 3600),
        )
    workers = min(machine.workers, len(chunks))
    ids = {utterance.id for chunk in chunks for utterance in chunk.utterances}
    longest = START_SECONDS + seconds_all / workers
    table.columns[0].footer, table.columns[1].footer = "all", str(len(ids))
    table.columns[4].footer = decimal(round(size_all))
    table.columns[5].footer = f"{duration(longest)} with {workers} worker{'s' * (workers > 1)}"
    table.title = "left to extract (time estimated from a trial on this machine)"
    return table


def _trial(chunks: Sequence[Chunk], encoders: Encoders, root: Path, settings: Settings, decoders: int) -> float | None:
    """Seconds that one second of media takes: some utterances of the first file that can be read, extracted for real.

    None if none of the first few files can be.
    """
    for piece in [piece for chunk in chunks for piece in by_media(chunk)][:TRIES]:
        part = media_group(piece, root, settings.extract, {})
        # The first ones of a dialog: all before an utterance is decoded, too.
        first = sorted(part.utterances, key=lambda utterance: utterance.start or 0.0)
        share = piece.seconds / len(piece.utterances)
        part = replace(part, utterances=first[: max(1, round(TRIAL_SECONDS / max(share, 0.1)))])
        try:
            # Twice: the first time everything is slow.
            for _ in range(2):
                began = time.perf_counter()
                entries = [entry for _, entry in encoders.entries(piece.stream, [part], decoders=decoders)]
                took = time.perf_counter() - began
        except (MediaError, DecodeFallbackError):
            continue
        if any(isinstance(entry, Entry) and len(entry.values) for entry in entries):
            return took / max(0.1, share * len(part.utterances))
    return None
