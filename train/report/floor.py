"""The lines under a result that say what is predictable without any media, or from labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..floor.folds import KINDS
from ..metrics.classification import macro_f1, unweighted_accuracy, weighted_accuracy
from .formatting import percent

_NAMES = {"scenario": "scene", "role": "scene + role", "time": "scene + role + time"}


def floor_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The script floor of the same protocol, and the inertia of labels, as far as a result has them."""
    return [*_script_lines(metrics.get("script_floor")), *_inertia_lines(metrics.get("label_inertia"))]


def _script_lines(floor: Mapping[str, Any] | None) -> list[str]:
    if not floor:
        return []
    if not floor["levels"]:
        return [f"script floor: {floor['note']}"]
    level = list(floor["levels"])[-1]
    scores = floor["levels"][level]
    line = f"script floor ({_NAMES[level]} of training utterances, no media): UA {percent(scores['ua'])}, "
    line += f"WA {percent(scores['wa'])}, F1 {percent(scores['f1'])}"
    kinds = [f"{kind} WA {percent(scores[kind]['wa'])}" for kind in KINDS.values() if kind in scores]
    if floor["covered"] == 0:
        kinds = ["no scene of a test group is in its training set"]
    return [line + (f" ({', '.join(kinds)})" if kinds else "")]


def _inertia_lines(inertia: Mapping[str, Any] | None) -> list[str]:
    if not inertia:
        return []
    return [
        f"label inertia (diagnostic, reads labels): a speaker's label is that of the previous turn in "
        f"{percent(inertia['agreement'])}% of {inertia['pairs']} pairs"
    ]


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
