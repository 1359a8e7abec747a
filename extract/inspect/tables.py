"""Summary of a feats.h5 as tables and as JSON, and the quality of each utterance as a CSV file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from ...shared.cli.console import count_table
from ...shared.config.settings import modality_of
from ...shared.errors import StoreError
from ...shared.files.atomic import replaced_atomically, write_rows
from ...shared.files.overwrite import check_overwrite
from ...shared.seen_corpora import seen_corpus_warnings
from ...shared.store.feature_store import FeatureStore, StreamInfo
from ...shared.text import counted
from ...shared.utterance import Utterance, splits_of
from ..text.transcript import NO_TOKEN, NO_TRANSCRIPT, ONLY_TAGS

UTTERANCE_COLUMNS = ("id", "corpus", "split", "session", "speaker", "label")
"""The first columns of the CSV file."""

MAX_CLIPPED_SHARE = 0.001
"""Share of clipped samples above which an utterance is reported; a single clipped sample is inaudible."""

MAX_SILENT_SHARE = 0.5
MAX_NAMES = 5
MAX_NOTES = 10


def describe(path: Path) -> list[Table | str]:
    """Tables and lines about a feats.h5: utterances by split and class, streams, quality, and missing streams."""
    with FeatureStore(path) as store:
        random = " (random weights)" if store.random_weights else ""
        kind = "packed" if store.packed_inside else counted(len(store.shard_paths), "shard")
        parts: list[Table | str] = [
            f"{path}: {counted(len(store), 'utterance')}, {kind}, content {store.digest[:8]}{random}",
            _class_table(store.utterances),
            _stream_table(store),
        ]
        parts += [line for name in store.streams if (line := _quality_line(store, name))]
        parts += _note_lines(store)
        seen = {name: made["seen_corpora"] for name, made in store.provenance().items()}
        parts += seen_corpus_warnings(seen, (utterance.corpus for utterance in store.utterances))
        return parts


def check_shards(path: Path) -> None:
    """Raise StoreError if shards of a feats.h5 do not exist."""
    with FeatureStore(path) as store:
        shards = store.shard_paths
    if missing := [shard for shard in shards if not shard.exists()]:
        raise StoreError(
            f"{path}: expected all of its {counted(len(shards), 'shard')}, but {len(missing)} do not exist, such as "
            f"{missing[0]}; move them back, or run `foal extract`, which computes their features again"
        )


def summary(path: Path) -> dict[str, Any]:
    """Summarize a feats.h5 for `foal inspect --json`.

    Returns:
        JSON-able object: `index`, `content` (digest), `packed`, `shards`, `missing_shards` (paths), `utterances`,
        `classes` (utterances by split and label), and by name in `streams`: encoder, revision, random_weights,
        config_hash, frame_shape, dtype, rate_hz, frames, valid_frames, utterances (with at least one valid frame) and
        `quality` (mean of each measure over the utterances where it is known).
    """
    with FeatureStore(path) as store:
        classes = {
            split: dict(sorted(Counter(utterance.label for utterance in members).items()))
            for split, members in splits_of(store.utterances).items()
        }
        return {
            "index": str(path),
            "content": store.digest,
            "packed": store.packed_inside,
            "shards": len(store.shard_paths),
            "missing_shards": [str(shard) for shard in store.shard_paths if not shard.exists()],
            "utterances": len(store),
            "classes": classes,
            "streams": {name: _stream_summary(store, name) for name in store.streams},
        }


def _stream_summary(store: FeatureStore, name: str) -> dict[str, Any]:
    stream = store.streams[name]
    valid = store.valid_frames(name)
    quality = {}
    for measure, values in sorted(store.quality(name).items()):
        known = values[np.isfinite(values)]
        if len(known):
            quality[measure] = float(known.mean(dtype=np.float64))
    return {
        "encoder": stream.encoder,
        "revision": stream.revision,
        "random_weights": stream.random_weights,
        "config_hash": stream.config_hash,
        "frame_shape": list(stream.frame_shape),
        "dtype": stream.dtype,
        "rate_hz": stream.rate_hz,
        "frames": int(store.lengths(name).sum()),
        "valid_frames": int(valid.sum()),
        "utterances": int(np.count_nonzero(valid)),
        "quality": quality,
    }


def check_table(path: Path, *, force: bool = False) -> None:
    """Raise UsageError if `path` exists, is no table of `foal inspect`, and `force` is not given."""
    check_overwrite(path, kind="a table of `foal inspect`", is_ours=_is_table, force=force)


def _is_table(path: Path) -> bool:
    """Whether a file begins with the columns of a table; a manifest has others behind `id`."""
    header = ",".join(UTTERANCE_COLUMNS).encode()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(header)) == header


def write_table(path: Path, index: Path, *, force: bool = False) -> str:
    """Write a CSV file with one row per utterance: its columns, then frames, quality and note of each stream.

    Args:
        path: the CSV file.
        index: the feats.h5.
        force: replace a file that is no table of `foal inspect`.

    Returns:
        A line about it for the console.

    Raises:
        UsageError: see `check_table`.
    """
    check_table(path, force=force)
    with FeatureStore(index) as store:
        columns: dict[str, Sequence[object]] = {
            name: [getattr(utterance, name) for utterance in store.utterances] for name in UTTERANCE_COLUMNS
        }
        for name in store.streams:
            columns[f"{name}:frames"] = store.lengths(name).tolist()
            columns[f"{name}:valid"] = store.valid_frames(name).tolist()
            for measure, values in sorted(store.quality(name).items()):
                columns[f"{name}:{measure}"] = ["" if np.isnan(value) else f"{value:.4g}" for value in values]
            columns[f"{name}:note"] = store.notes(name)
    with replaced_atomically(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, list(columns), zip(*columns.values(), strict=True))
    return f"{path}: quality measures of {len(columns['id'])} utterances"


def _class_table(utterances: Sequence[Utterance]) -> Table:
    """Utterances by split (rows) and label (columns), with sums."""
    labels = sorted({utterance.label for utterance in utterances})
    rows: dict[str, list[int]] = {}
    for split, members in splits_of(utterances).items():
        counts = Counter(utterance.label for utterance in members)
        rows[split] = [counts[label] for label in labels]
    headings = [label or "(none)" for label in labels]
    return count_table("split", headings, rows, total=len(rows) > 1, title="utterances")


def _stream_table(store: FeatureStore) -> Table:
    table = Table("features", *store.streams)
    columns = []
    for name, stream in store.streams.items():
        lengths = store.lengths(name)
        valid = store.valid_frames(name)
        columns.append(
            {
                "encoder": stream.encoder,
                "revision": stream.revision,
                "weights": "random weights" if stream.random_weights else stream.weights[:16],
                "config_hash": stream.config_hash[:8],
                "frame": " x ".join(map(str, stream.frame_shape)) + f" {stream.dtype}",
                "rate": f"{stream.rate_hz:g} Hz" if stream.rate_hz else "none",
                "frames": f"{lengths.sum():,}",
                "utterances with data": f"{np.count_nonzero(valid)} of {len(store)}",
                "face rate" if _detects_faces(stream) else "valid": f"{valid.sum() / max(1, lengths.sum()):.3f}",
            }
        )
    for row in dict.fromkeys(key for column in columns for key in column):
        table.add_row(row, *(column.get(row, "") for column in columns))
    return table


def _detects_faces(stream: StreamInfo) -> bool:
    """Whether the valid frames of a stream are those with a face."""
    return modality_of(stream.name) == "face" and stream.config.get("region", "face") == "face"


def _quality_line(store: FeatureStore, name: str) -> str:
    """Quality of a stream's audio, frames or words in one line; empty if no measure is known."""
    columns = store.quality(name)
    quality = {measure: values[np.isfinite(values)] for measure, values in columns.items()}
    none = np.empty(0, np.float32)
    remarks: list[str] = []
    rate = quality.get("face_rate", none)
    if len(rate):
        title = "face rate" if _detects_faces(store.streams[name]) else "valid frames"
        remarks.append(f"{title} mean {rate.mean():.3f}, 5th percentile {np.percentile(rate, 5):.3f}")
    probability = quality.get("probability", none)
    if len(probability):
        remarks.append(f"detection probability mean {probability.mean():.3f}")
    if len(quality.get("faces", none)):
        several = f"with more than one face{_names_where(store, columns['faces'] > 1)}"
        remarks.append(f"{_share(quality['faces'] > 1)} utterances {several}")
    clipping = quality.get("clipping", none)
    if len(clipping):
        clipped = _share(clipping > MAX_CLIPPED_SHARE)
        remarks.append(f"{clipped} utterances with more than {MAX_CLIPPED_SHARE:.1%} clipped samples")
    silence = quality.get("silence", none)
    if len(silence):
        remarks.append(f"{_share(silence > MAX_SILENT_SHARE)} silent for more than half of their duration")
    unknown = quality.get("unknown", none)
    if len(unknown):
        remarks.append(f"unknown tokens {unknown.mean():.2%}")
        truncated = np.nan_to_num(columns["truncated"]) > 0
        remarks.append(f"{np.count_nonzero(truncated):,} utterances truncated{_names_where(store, truncated)}")
    notes = Counter(store.notes(name))
    remarks += [f"{notes[note]:,} with {note}" for note in (NO_TRANSCRIPT, ONLY_TAGS, NO_TOKEN) if notes[note]]
    decoded = quality.get("decoded", none)
    if len(decoded):
        remarks.append(f"{_share(decoded < 1)} only partly decoded{_names_where(store, columns['decoded'] < 1)}")
    return f"{name} quality: {'; '.join(remarks)}" if remarks else ""


def _names_where(store: FeatureStore, flags: NDArray[np.bool_]) -> str:
    """The first ids of the utterances with the flag, in brackets."""
    ids = [store.utterances[row].id for row in np.flatnonzero(flags)]
    more = ", ..." if len(ids) > MAX_NAMES else ""
    return f" ({', '.join(ids[:MAX_NAMES])}{more})" if ids else ""


def _share(flags: NDArray[np.bool_]) -> str:
    return f"{np.count_nonzero(flags):,} of {len(flags):,}"


def _note_lines(store: FeatureStore) -> list[Table | str]:
    """Utterances that lack a stream, and the notes of the others."""
    lines: list[Table | str] = []
    for name in store.streams:
        rows = list(zip(store.utterances, store.valid_frames(name), store.notes(name), strict=True))
        without = [f"  {utterance.id}: {note or 'no valid frame'}" for utterance, valid, note in rows if not valid]
        remarks = [f"  {utterance.id}: {note}" for utterance, valid, note in rows if valid and note]
        for title, notes in ((f"without {name}", without), (f"{name}, remarks", remarks)):
            if notes:
                more = [f"  ... and {len(notes) - MAX_NOTES} more"] if len(notes) > MAX_NOTES else []
                lines.append("\n".join([f"{title} ({len(notes)}):", *notes[:MAX_NOTES], *more]))
    return lines
