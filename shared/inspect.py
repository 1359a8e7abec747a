"""What a feats.h5 holds, as tables for people."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from .console import count_table
from .index import FeatureStore
from .utterance import Utterance, splits_of


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
        parts += _notes(store)
        return parts


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
    table = Table("features", *store.modalities)
    columns = []
    for name, modality in store.modalities.items():
        lengths, valid = store.lengths(name), store.valid_frames(name)
        columns.append(
            {
                "encoder": modality.encoder,
                "revision": modality.revision,
                "weights": "random weights" if modality.random_weights else modality.weights[:16],
                "key": modality.key[:8],
                "frame": " x ".join(map(str, modality.frame_shape)) + f" {modality.dtype}",
                "rate": f"{modality.rate_hz:g} Hz",
                "frames": f"{lengths.sum():,}",
                "utterances with it": f"{np.count_nonzero(valid)} of {len(store)}",
                "face rate" if name == "face" else "valid": f"{valid.sum() / max(1, lengths.sum()):.3f}",
            }
        )
    for row in dict.fromkeys(key for column in columns for key in column):
        table.add_row(row, *(column.get(row, "") for column in columns))
    return table


def _notes(store: FeatureStore, most: int = 10) -> list[Table | str]:
    """Which utterances lack a modality, and about which others there is something to say."""
    lines: list[Table | str] = []
    for name in store.modalities:
        rows = list(zip(store.utterances, store.valid_frames(name), store.notes(name), strict=True))
        without = [f"  {utterance.id}: {note or 'no valid frame'}" for utterance, valid, note in rows if not valid]
        remarks = [f"  {utterance.id}: {note}" for utterance, valid, note in rows if valid and note]
        for title, found in ((f"without {name}", without), (f"{name}, remarks", remarks)):
            if found:
                more = [f"  ... and {len(found) - most} more"] if len(found) > most else []
                lines.append("\n".join([f"{title} ({len(found)}):", *found[:most], *more]))
    return lines
