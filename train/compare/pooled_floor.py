"""The script floor over several runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..metrics.classification import macro_f1, unweighted_accuracy, weighted_accuracy


def pooled_floor(floors: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The script floor over runs with disjoint test groups, from their confusion matrices; None if a run has none."""
    found = [floor for floor in floors if floor and floor["levels"]]
    if len(found) < len(floors) or not floors:
        return None
    levels = [level for level in found[0]["levels"] if all(level in floor["levels"] for floor in found)]
    return {
        "levels": {level: _pooled([floor["levels"][level] for floor in found]) for level in levels},
        "covered": float(np.average([floor["covered"] for floor in found], weights=[_size(floor) for floor in found])),
        "context": all(floor["context"] for floor in found),
        "note": None,
    }


def _pooled(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts = np.sum([part["confusion"] for part in parts], axis=0)
    return {
        "ua": float(unweighted_accuracy(counts)),
        "wa": float(weighted_accuracy(counts)),
        "f1": float(macro_f1(counts)),
        "n": int(counts.sum()),
        "confusion": counts.tolist(),
    }


def _size(floor: Mapping[str, Any]) -> int:
    return int(next(iter(floor["levels"].values()))["n"])
