"""What an extraction would cost (--dry-run): utterances, hours, bytes, and its time after a trial on this machine."""

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
from ...shared.utterance import TEXT
from ..media.video_reader import DecodeFallbackError
from .chunk import Encoders, media_group
from .plan import Chunk, group_by_media
from .stream_spec import StreamSpec

TRIAL_SECONDS: Seconds = 10.0
MAX_TRIALS = 5
STARTUP_SECONDS: Seconds = 6.0
"""Time until the workers run; the rest of the estimate is measured."""


def estimate(settings: Settings, chunks: Sequence[Chunk], specs: Sequence[StreamSpec]) -> Table:
    """Tabulate the cost of the chunks by stream, with totals in the footer.

    Args:
        settings: the settings of the run.
        chunks: what is left to extract; not empty.
        specs: the streams of the chunks.
    """
    extract_settings = settings.extract
    resources = local_resources(settings.cluster, decode_threads=extract_settings.decode_threads)
    torch.set_num_threads(resources.threads)
    device = torch.device("cuda" if resources.devices else "cpu")
    by_stream = {spec.stream: spec for spec in specs}
    encoders = Encoders(extract_settings, by_stream, device, decode_threads=resources.decode_threads)
    table = Table("stream", "utterances", "media", "shards", "size", "time of one worker", show_footer=True)
    for column in table.columns[1:]:
        column.justify = "right"
    total_bytes = 0.0
    total_seconds = 0.0
    for spec in specs:
        own = [chunk for chunk in chunks if chunk.stream == spec.stream]
        if not own:
            continue
        media_seconds = sum(chunk.seconds for chunk in own)
        size = media_seconds * encoders.bytes_per_second(spec.stream)
        cost = _measure_cost(own, encoders, settings.corpus.root, settings)
        total_bytes += size
        total_seconds += 0.0 if cost is None else cost * media_seconds
        table.add_row(
            spec.stream,
            str(sum(len(chunk.utterances) for chunk in own)),
            "text" if spec.modality == TEXT else f"{media_seconds / 3600:.2f} h",
            str(len(own)),
            decimal(round(size)),
            "unknown" if cost is None else duration(cost * media_seconds),
        )
    workers = min(resources.workers, len(chunks))
    ids = {utterance.id for chunk in chunks for utterance in chunk.utterances}
    wall_seconds = STARTUP_SECONDS + total_seconds / workers
    table.columns[0].footer = "all"
    table.columns[1].footer = str(len(ids))
    table.columns[4].footer = decimal(round(total_bytes))
    table.columns[5].footer = f"{duration(wall_seconds)} with {workers} worker{'s' * (workers > 1)}"
    table.title = "left to extract (time estimated from a trial on this machine)"
    return table


def _measure_cost(chunks: Sequence[Chunk], encoders: Encoders, root: Path, settings: Settings) -> float | None:
    """Seconds of work per second of media: some utterances of the first readable file are extracted.

    None if none of the first MAX_TRIALS files can be read.
    """
    for part in [part for chunk in chunks for part in group_by_media(chunk)][:MAX_TRIALS]:
        group = media_group(part, root, settings.extract, {})
        # The first ones of a dialog, because a file is decoded from its beginning.
        by_start = sorted(group.utterances, key=lambda utterance: utterance.start or 0.0)
        share = part.seconds / len(part.utterances)
        group = replace(group, utterances=by_start[: max(1, round(TRIAL_SECONDS / max(share, 0.1)))])
        try:
            # Twice: the first time includes the start-up of libraries.
            for _ in range(2):
                began = time.perf_counter()
                entries = [entry for _, entry in encoders.entries(part.stream, [group])]
                took = time.perf_counter() - began
        except (MediaError, DecodeFallbackError):
            continue
        if any(isinstance(entry, Entry) and len(entry.values) for entry in entries):
            return took / max(0.1, share * len(group.utterances))
    return None
