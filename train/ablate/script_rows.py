"""The rows of the script floor in the ablation table: scene, role and time predict, without any media."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.dataset import Dataset
from ..floor.folds import ScriptFloor
from ..floor.vote import Level
from .systems import System

_ROWS: tuple[tuple[Level, str, str], ...] = (
    ("scenario", "script: scenario", "majority of the training utterances of the same scene; no media"),
    ("role", "script: scenario + role", "majority of the same scene and role; no media"),
    ("time", "script: scenario + role + time", "votes of the same scene and role, weighted by time; no media"),
)


def with_script_rows(systems: Sequence[System], floor: ScriptFloor | None) -> list[System]:
    """The systems, with the levels that the script floor has after the majority class."""
    levels = () if floor is None else tuple(floor.predicted)
    rows = [
        System(id=f"script-{level}", name=name, description=description, kind="script")
        for level, name, description in _ROWS
        if level in levels
    ]
    first = next((number + 1 for number, system in enumerate(systems) if system.kind == "majority"), 0)
    return [*systems[:first], *rows, *systems[first:]]


def script_table(system: System, floor: ScriptFloor, data: Dataset) -> NDArray[np.float32]:
    """Probabilities (1, n, c) of a row of the script floor: 1 for the predicted class."""
    (predicted,) = (classes for level, classes in floor.predicted.items() if system.id == f"script-{level}")
    table = np.zeros((1, len(data), len(data.classes)), np.float32)
    (tested,) = np.nonzero(predicted >= 0)
    table[0, tested, predicted[tested]] = 1
    return table
