"""The result of an extraction: a table, utterances that are incomplete, and the lines about failures and index."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from ...shared.cli.console import get_console
from ...shared.config.settings import FaceSettings
from ...shared.files.media_state import MediaFingerprints
from ...shared.store.catalog import Catalog
from ...shared.store.index_writer import IndexResult
from ...shared.text import counted, preview_ids
from ...shared.utterance import Utterance, split_names, split_of_each
from ..media.channels import CANCELLED_NOTE
from .failures import Failure
from .stream_spec import StreamSpec

MAX_FAILURES_PRINTED = 10
WHOLE_FRAME = (0.0, 0.0, 1.0, 1.0)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExtractResult:
    """What a run of `foal extract` did, for its exit code and for --json.

    `pending` utterances would be extracted (dry run only); `index` is None if no index was written; `part` is the part
    that was extracted, such as "2/4", or None.
    """

    exit_code: int
    splits: tuple[str, ...]
    streams: tuple[str, ...]
    utterances: int
    extracted: int
    skipped: int
    failed: int
    pending: int
    index: str | None
    seconds: float
    dry_run: bool
    part: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The fields that --json prints."""
        return {
            "splits": list(self.splits),
            "streams": list(self.streams),
            "utterances": self.utterances,
            "extracted": self.extracted,
            "skipped": self.skipped,
            "failed": self.failed,
            "pending": self.pending,
            "index": self.index,
            "seconds": round(self.seconds, 3),
            "dry_run": self.dry_run,
            "part": self.part,
        }


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The features of the selected utterances.

    `table` counts them; `missing` are (id, stream) pairs without features; of the utterances in `partial` less could be
    decoded than their file declares; of those in `cancelled` the channels cancel in their mean; `warnings` say what the
    streams leave out.
    """

    table: Table
    missing: tuple[tuple[str, str], ...]
    partial: tuple[str, ...]
    cancelled: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def summarize(
    utterances: Sequence[Utterance],
    specs: Sequence[StreamSpec],
    catalogs: Mapping[str, Catalog],
    media: MediaFingerprints,
) -> Summary:
    """Count, per split and stream, the utterances with features, those with the modality, and the frames.

    Args:
        utterances: the utterances of the run.
        specs: its streams.
        catalogs: the shards of each stream, as they are now.
        media: the fingerprints of the media, as they are now.
    """
    random = " (random weights)" if any(spec.header.random_weights for spec in specs) else ""
    table = Table(
        "session", "stream", "encoder", "utterances", "with data", "frames", "valid frames", title=f"features{random}"
    )
    for column in table.columns[3:]:
        column.justify = "right"
    missing: list[tuple[str, str]] = []
    partial: dict[str, None] = {}
    cancelled: dict[str, None] = {}
    splits = {split: number for number, split in enumerate(split_names(utterances))}
    split_of = np.fromiter(map(splits.__getitem__, split_of_each(utterances)), np.int64, len(utterances))
    for spec in specs:
        catalog = catalogs[spec.stream]
        matched = catalog.match(utterances, spec.modality, media)
        for split, number in splits.items():
            of_split = matched[split_of == number]
            rows = of_split[of_split >= 0]
            frames, valid_frames = int(catalog.rows.length[rows].sum()), catalog.rows.valid_frames[rows]
            table.add_row(
                split,
                spec.stream,
                spec.header.encoder,
                f"{len(rows)}/{len(of_split)}",
                str(int((valid_frames > 0).sum())),
                str(frames),
                f"{int(valid_frames.sum()) / max(1, frames):.1%}",
            )
        missing += [(utterances[row].id, spec.stream) for row in np.flatnonzero(matched < 0).tolist()]
        present = np.flatnonzero(matched >= 0)
        rows = matched[present]
        if "decoded" in catalog.rows.quality:
            in_part = catalog.rows.quality["decoded"][rows] < 1
            partial |= dict.fromkeys(utterances[row].id for row in present[in_part].tolist())
        notes = catalog.rows.notes[rows].tolist()
        noted = {note for note in set(notes) if CANCELLED_NOTE in note}
        cancelled |= dict.fromkeys(
            utterances[row].id for row, note in zip(present.tolist(), notes, strict=True) if note in noted
        )
    return Summary(
        table=table,
        missing=tuple(missing),
        partial=tuple(partial),
        cancelled=tuple(cancelled),
        warnings=tuple(stream_warnings(utterances, specs)),
    )


def stream_warnings(utterances: Sequence[Utterance], specs: Sequence[StreamSpec]) -> list[str]:
    """Warnings about what the streams leave out of the manifest, or lack in it."""
    return [*_unused_crops(utterances, specs), *_missing_turns(utterances, specs)]


def _missing_turns(utterances: Sequence[Utterance], specs: Sequence[StreamSpec]) -> list[str]:
    """A warning for each text stream with context, if the manifest lacks turns that it would read."""
    warnings = []
    for spec in specs:
        if not spec.context:
            continue
        ids = [u.id for u in utterances if len(u.before(spec.context)) < min(spec.context, u.turn or 0)]
        if ids:
            warnings.append(
                f"{spec.stream}: the manifest lacks some of the {counted(spec.context, 'turn')} before "
                f"{preview_ids(ids)}; the encoder reads the others. `foal manifest --context` keeps the turns of "
                "other labels"
            )
    return warnings


def _unused_crops(utterances: Sequence[Utterance], specs: Sequence[StreamSpec]) -> list[str]:
    """A warning for each stream of whole frames, if the manifest's column `crop` selects a part of some."""
    whole = [
        spec.stream for spec in specs if isinstance(spec.settings, FaceSettings) and spec.settings.region == "frame"
    ]
    if not whole:
        return []
    cropped = [utterance.id for utterance in utterances if utterance.video and utterance.box != WHOLE_FRAME]
    return [
        f"{stream}: region frame encodes the whole frame, with everyone in it, so that the column crop is not "
        f"used for {preview_ids(cropped)}; region crop encodes the person's part alone"
        for stream in whole
        if cropped
    ]


def print_summary(summary: Summary) -> None:
    """Print the table, and name the utterances that could be decoded only in part."""
    get_console().print(summary.table)
    for warning in summary.warnings:
        log.warning(warning)
    if summary.partial:
        log.info(
            f"decoded only in part, because their files are damaged or cut off: {preview_ids(summary.partial)}; "
            "`foal inspect --csv` writes the fraction of each in the columns `decoded`"
        )
    if summary.cancelled:
        log.warning(
            f"nearly silent, because the channels of the recording cancel in their mean: "
            f"{preview_ids(summary.cancelled)}; take one channel: --channel left"
        )


def print_index_result(result: IndexResult) -> None:
    """Print what an index contains and what it leaves out."""
    for path, reason in result.damaged.items():
        log.warning(f"{path}: {reason}")
    if result.not_extracted:
        log.info(
            f"not in the index, because not extracted or because the media changed: {preview_ids(result.not_extracted)}"
        )
    log.info(f"{result.path}: {counted(result.utterances, 'utterance')}{'' if result.changed else ', unchanged'}")


def print_failures(failures: Sequence[Failure]) -> None:
    """Print the first failures with their reasons, and their number."""
    for failure in failures[:MAX_FAILURES_PRINTED]:
        log.info(f"failed: {failure.id} ({failure.stream}, {failure.media}): {failure.reason}")
    if failures:
        count = len({failure.id for failure in failures})
        log.info(
            f"{count} utterance{'s' * (count > 1)} failed; the failures.csv of each session lists all, with remedies"
        )
