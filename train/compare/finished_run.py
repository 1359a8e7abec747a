"""A finished run as read from its folder: metrics.json, run.json and predictions.csv."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...shared.errors import UsageError
from ..metrics.pooling import Predictions
from ..report.results import read_metrics
from ..report.run_folder import METADATA_FILE

PREDICTIONS_FILE = "predictions.csv"


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run: its metrics.json, its settings and its predictions."""

    folder: Path
    metrics: Mapping[str, Any]
    settings: Mapping[str, Any]
    predictions: Predictions


def read_run(run: Path) -> FinishedRun:
    """Read a finished run.

    Args:
        run: its folder, or its metrics.json.

    Raises:
        UsageError: a file is missing or invalid.
    """
    metrics = read_metrics(run)
    folder = run if run.is_dir() else run.parent
    settings = read_settings(folder)
    return FinishedRun(folder=folder, metrics=metrics, settings=settings, predictions=read_predictions(folder))


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings of a run, the section train of params.yaml, from its run.json.

    Raises:
        UsageError: the file is missing or invalid.
    """
    path = folder / METADATA_FILE
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["settings"]
        if not isinstance(settings["bootstrap"], int):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{path}: expected the settings of the run, found none; train again") from None
    return settings


def read_predictions(folder: Path) -> Predictions:
    """Read predictions.csv of a run.

    Args:
        folder: folder of the run.

    Raises:
        UsageError: the file is missing, of an older version, or incomplete.
    """
    path = folder / PREDICTIONS_FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path}: expected the predictions of a run, but they cannot be read ({error})") from None
    if "label" not in columns and any(name.startswith("predicted_") for name in columns):
        raise UsageError(
            f"{path}: expected predicted classes, by which runs are pooled and compared, got ratings alone; show the "
            "run by itself with `foal results RUN`"
        )
    if "speaker" not in columns:
        raise UsageError(f"{path}: expected a column speaker, found none; train runs of older versions again")
    classes = tuple(name.removeprefix("p_") for name in columns if name.startswith("p_"))
    by_seed: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        by_seed.setdefault(row.get("seed", ""), {})[row["id"]] = row
    try:
        first = next(iter(by_seed.values()))
        tables = [[table[name] for name in first] for table in by_seed.values()]
        number = {name: i for i, name in enumerate(classes)}
        if sum(map(len, tables)) != len(rows):
            raise ValueError("an utterance occurs twice, or not for every seed")
        return Predictions(
            source=str(folder),
            classes=classes,
            ids=tuple(first),
            speakers=tuple(row["speaker"] for row in first.values()),
            labels=np.array([number[row["label"]] for row in first.values()], np.int64),
            predicted=np.array([[number[row["predicted"]] for row in table] for table in tables], np.int64),
            probabilities=np.array(
                [[[float(row[f"p_{name}"]) for name in classes] for row in table] for table in tables]
            ),
        )
    except (StopIteration, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: expected predictions for every seed, got others ({error}); train again") from None


def merged_warnings(by_run: Mapping[str, Sequence[str]]) -> list[str]:
    """The warnings of several runs, by name of the run; one that not all of them have is preceded by its runs."""
    found: dict[str, list[str]] = {}
    for name, warnings in by_run.items():
        for warning in warnings:
            found.setdefault(warning, []).append(name)
    return [
        warning if len(names) == len(by_run) else f"{', '.join(names)}: {warning}" for warning, names in found.items()
    ]
