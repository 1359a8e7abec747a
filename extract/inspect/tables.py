"""What a feats.h5 holds, as tables for people, and the quality of each utterance as a CSV file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from ...shared.cli.console import count_table
from ...shared.config.settings import modality_of
from ...shared.errors import UsageError
from ...shared.files.atomic import replaced_atomically, write_rows
from ...shared.store.feature_store import FeatureStore, StreamInfo
from ...shared.utterance import Utterance, splits_of

WHO = ("id", "corpus", "split", "session", "speaker", "label")
"""The first columns of the CSV file."""

CLIPPED = 0.001
"""Share of clipped samples beyond which an utterance is named clipped; a single loud sample is heard by nobody."""

SILENT = 0.5
MOST_NAMES = 5


def describe(path: Path) -> list[Table | str]:
    """Tables of utterances by session and class, of each modality, and of what is missing."""
    with FeatureStore(path) as store:
        random = " (random weights)" if store.random_weights else ""
        kind = "packed" if store.packed_inside else f"{len(store.shard_paths)} shards"
        parts: list[Table | str] = [
            f"{path}: {len(store)} utterances, {kind}, content {store.digest[:8]}{random}",
            _class_table(store.utterances),
            _modality_table(store),
        ]
        parts += [line for name in store.streams if (line := _quality(store, name))]
        parts += _notes(store)
        return parts


def summary(path: Path) -> dict[str, Any]:
    """The contents of a feats.h5 as JSON-able values, for `foal inspect --json`."""
    with FeatureStore(path) as store:
        streams = {
            name: {
                "frame_shape": list(info.frame_shape),
                "rate_hz": info.rate_hz,
                "encoder": info.encoder,
                "config_hash": info.config_hash,
                "frames": int(store.lengths(name).sum()),
                "valid_frames": int(store.valid_frames(name).sum()),
                "quality": {
                    key: float(values[np.isfinite(values)].mean())
                    for key, values in store.quality(name).items()
                    if np.isfinite(values).any()
                },
            }
            for name, info in store.streams.items()
        }
        classes = Counter(utterance.label for utterance in store.utterances)
        return {"utterances": len(store), "classes": dict(sorted(classes.items())), "streams": streams}


def check_table(path: Path, *, force: bool = False) -> None:
    """Raise UsageError unless nothing lies in the table's place, or an older table; a manifest begins otherwise."""
    header = ",".join(WHO).encode()
    try:
        with path.open("rb") as file:
            ours = file.read(len(header)) == header
    except OSError:
        ours = not path.exists()
    if not ours and not force:
        raise UsageError(f"{path}: expected a table of `foal inspect` to replace, or nothing, got something else")


def write_table(path: Path, index: Path, *, force: bool = False) -> str:
    """Write one row per utterance: who, then the frames, quality and note of each stream; gives a line about it."""
    check_table(path, force=force)
    with FeatureStore(index) as store:
        columns: dict[str, Sequence[object]] = {
            name: [getattr(utterance, name) for utterance in store.utterances] for name in WHO
        }
        for name in store.streams:
            columns[f"{name}:frames"] = store.lengths(name).tolist()
            columns[f"{name}:valid"] = store.valid_frames(name).tolist()
            for quality, values in sorted(store.quality(name).items()):
                columns[f"{name}:{quality}"] = ["" if np.isnan(value) else f"{value:.4g}" for value in values]
            columns[f"{name}:note"] = store.notes(name)
    with replaced_atomically(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, list(columns), zip(*columns.values(), strict=True))
    return f"{path}: the quality of {len(columns['id'])} utterances"


def _class_table(utterances: Sequence[Utterance]) -> Table:
    """Utterances by split (rows) and label (columns), with sums."""
    labels = sorted({utterance.label for utterance in utterances})
    rows: dict[str, list[int]] = {}
    for split, members in splits_of(utterances).items():
        counts = Counter(utterance.label for utterance in members)
        rows[split] = [counts[label] for label in labels]
    shown = [label or "(none)" for label in labels]
    return count_table("split", shown, rows, total=len(rows) > 1, title="utterances")


def _modality_table(store: FeatureStore) -> Table:
    table = Table("features", *store.streams)
    columns = []
    for name, modality in store.streams.items():
        lengths, valid = store.lengths(name), store.valid_frames(name)
        columns.append(
            {
                "encoder": modality.encoder,
                "revision": modality.revision,
                "weights": "random weights" if modality.random_weights else modality.weights[:16],
                "config_hash": modality.config_hash[:8],
                "frame": " x ".join(map(str, modality.frame_shape)) + f" {modality.dtype}",
                "rate": f"{modality.rate_hz:g} Hz",
                "frames": f"{lengths.sum():,}",
                "utterances with it": f"{np.count_nonzero(valid)} of {len(store)}",
                "face rate" if _shows_faces(modality) else "valid": f"{valid.sum() / max(1, lengths.sum()):.3f}",
            }
        )
    for row in dict.fromkeys(key for column in columns for key in column):
        table.add_row(row, *(column.get(row, "") for column in columns))
    return table


def _shows_faces(modality: StreamInfo) -> bool:
    """Whether a frame is valid where a face was found."""
    return modality_of(modality.name) == "face" and modality.config.get("view", "face") == "face"


def _quality(store: FeatureStore, name: str) -> str:
    """What is remarkable about a stream's sound or pictures, in one line; empty if nothing is known of it."""
    columns, said = store.quality(name), list[str]()
    quality = {key: values[np.isfinite(values)] for key, values in columns.items()}
    if len(rate := quality.get("face_rate", np.empty(0))):
        what = "face rate" if _shows_faces(store.streams[name]) else "valid pictures"
        said.append(f"{what} mean {rate.mean():.3f}, 5th percentile {np.percentile(rate, 5):.3f}")
    if len(probability := quality.get("probability", np.empty(0))):
        said.append(f"detection probability mean {probability.mean():.3f}")
    if len(clipping := quality.get("clipping", np.empty(0))):
        said.append(f"{_share(clipping > CLIPPED)} utterances with more than {CLIPPED:.1%} clipped samples")
    if len(silence := quality.get("silence", np.empty(0))):
        said.append(f"{_share(silence > SILENT)} more than half silent")
    if len(decoded := quality.get("decoded", np.empty(0))):
        which = [store.utterances[row].id for row in np.flatnonzero(columns["decoded"] < 1)]
        more = ", ..." if len(which) > MOST_NAMES else ""
        named = f" ({', '.join(which[:MOST_NAMES])}{more})" if which else ""
        said.append(f"{_share(decoded < 1)} only partly decoded{named}")
    return f"{name} quality: {'; '.join(said)}" if said else ""


def _share(flags: NDArray[np.bool_]) -> str:
    return f"{np.count_nonzero(flags):,} of {len(flags):,}"


def _notes(store: FeatureStore, most: int = 10) -> list[Table | str]:
    """Which utterances lack a modality, and about which others there is something to say."""
    lines: list[Table | str] = []
    for name in store.streams:
        rows = list(zip(store.utterances, store.valid_frames(name), store.notes(name), strict=True))
        without = [f"  {utterance.id}: {note or 'no valid frame'}" for utterance, valid, note in rows if not valid]
        remarks = [f"  {utterance.id}: {note}" for utterance, valid, note in rows if valid and note]
        for title, found in ((f"without {name}", without), (f"{name}, remarks", remarks)):
            if found:
                more = [f"  ... and {len(found) - most} more"] if len(found) > most else []
                lines.append("\n".join([f"{title} ({len(found)}):", *found[:most], *more]))
    return lines
