"""Results of several finished runs, pooled from their predictions.csv, and their comparison with other runs."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...shared.errors import UsageError
from ..metrics.pooling import Predictions, compare_predictions, pool_predictions, prediction_scores
from .files import read_metrics, run_title
from .floor import floor_lines, pooled_floor
from .formatting import p_text, percent, signed
from .run_folder import METADATA_FILE

PREDICTIONS_FILE = "predictions.csv"
SETTINGS_THAT_MAY_DIFFER = {"seeds", "load", "disk_buffer_mb", "bootstrap"}
"""Settings without a warning if the pooled runs differ in them: they are no property of the systems."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run: its metrics.json, its settings and its predictions."""

    folder: Path
    metrics: Mapping[str, Any]
    settings: Mapping[str, Any]
    predictions: Predictions


def pooled_results(runs: Sequence[Path], against: Sequence[Path] = ()) -> dict[str, Any]:
    """Pool finished runs over disjoint utterances, and compare them with other runs over the same utterances.

    Args:
        runs: folders of the runs, or their metrics.json.
        against: the runs to compare with (empty: no comparison).

    Returns:
        Scores as in metrics.json; `runs` describes each run, `against` the comparison (None without one). JSON values.

    Raises:
        UsageError: a run cannot be read, the runs have an utterance in common, or the others have other utterances.
    """
    own = [read_run(path) for path in runs]
    pooled = pool_predictions([run.predictions for run in own])
    resamples = own[0].settings["bootstrap"]
    others = [read_run(path) for path in against]
    comparison: dict[str, Any] | None = None
    if others:
        baseline = pool_predictions([run.predictions for run in others])
        comparison = {
            "runs": [_described(run) for run in others],
            **compare_predictions(pooled, baseline, resamples=resamples),
            **{key: prediction_scores(baseline, resamples=resamples)[f"{key}_mean"] for key in ("ua", "wa", "f1")},
        }
    return {
        "runs": [_described(run) for run in own],
        "classes": list(pooled.classes),
        "n": len(pooled),
        "speakers": len(set(pooled.speakers)),
        "seeds": len(pooled.predicted),
        **prediction_scores(pooled, resamples=resamples),
        "against": comparison,
        "script_floor": pooled_floor([run.metrics.get("script_floor") for run in own]),
        "warnings": [*_differences(own), *_differences(others), *_run_warnings([*own, *others])],
    }


def read_run(run: Path) -> FinishedRun:
    """Read a finished run.

    Args:
        run: its folder, or its metrics.json.

    Raises:
        UsageError: a file is missing or invalid.
    """
    metrics = read_metrics(run)
    folder = run if run.is_dir() else run.parent
    try:
        settings = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))["settings"]
        assert isinstance(settings["bootstrap"], int)
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        raise UsageError(
            f"{folder / METADATA_FILE}: expected the settings of the run, found none; train again"
        ) from None
    return FinishedRun(folder=folder, metrics=metrics, settings=settings, predictions=read_predictions(folder))


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


def pooled_table(results: Mapping[str, Any]) -> RenderableType:
    """Table of the runs and of their pooled scores, in percent, with the comparison and the warnings."""
    runs, seeds = results["runs"], results["seeds"]
    titles = " / ".join(dict.fromkeys(run["title"] for run in runs))
    table = Table(
        title=titles if len(runs) == 1 else f"{len(runs)} runs pooled: {titles}",
        caption=f"{results['n']} utterances, {results['speakers']} speakers, {seeds} seed{'s' * (seeds > 1)}",
        title_justify="left",
        caption_justify="left",
    )
    for column in ("run", "protocol", "features", "utterances", "UA", "WA", "F1"):
        table.add_column(column, justify="left" if column in ("run", "protocol", "features") else "right")
    scores = ("ua", "wa", "f1")
    for run in runs:
        _add_run(table, run)
    table.add_section()
    means = [percent(results[f"{score}_mean"]) for score in scores]
    table.add_row("pooled", "", "", str(results["n"]), *means, style="bold")
    if results["ua_ci95"] is not None:
        intervals = ["-".join(map(percent, results[f"{score}_ci95"])) for score in ("ua", "wa")]
        table.add_row("95% interval", "by speaker", "", "", *intervals, "")
    if results["ua_std"] is not None:
        table.add_row("deviation", "over seeds", "", "", *(percent(results[f"{score}_std"]) for score in scores))
    if results["seed_average"] is not None:
        averages = (percent(results["seed_average"][f"{score}_mean"]) for score in scores)
        table.add_row("seeds averaged", "", "", "", *averages)
    lines = []
    if (against := results["against"]) is not None:
        table.add_section()
        for run in against["runs"]:
            _add_run(table, run)
        if len(against["runs"]) > 1:
            table.add_row("against, pooled", "", "", str(results["n"]), *(percent(against[score]) for score in scores))
        lines.append(Text(gain_line(against), style="bold"))
    recalls = "   ".join(
        f"{name} {'-' if value is None else percent(value)}" for name, value in results["per_class_recall"].items()
    )
    warnings = [Text(f"warning: {warning}") for warning in results["warnings"]]
    return Group(table, *lines, Text(f"recall: {recalls}"), *map(Text, floor_lines(results)), *warnings)


def gain_line(against: Mapping[str, Any]) -> str:
    """The comparison in one line, in percentage points of UA."""
    interval = ""
    if against["gain_ci95"] is not None:
        interval = " (95% interval {} to {})".format(*map(signed, against["gain_ci95"]))
    names = ", ".join(run["run"] for run in against["runs"])
    return f"difference in UA to {names}: {signed(against['gain'])}{interval}, p {p_text(against['p'])}"


def _add_run(table: Table, run: Mapping[str, Any]) -> None:
    scores = [percent(run[score]) for score in ("ua", "wa", "f1")]
    table.add_row(Text(run["run"]), run["protocol"], run["features"][:8], str(run["n"]), *scores)


def _described(run: FinishedRun) -> dict[str, Any]:
    metrics = run.metrics
    return {
        "run": str(run.folder),
        "title": run_title(metrics),
        **{key: metrics[key] for key in ("protocol", "features", "seeds", "n")},
        **{score: metrics[f"{score}_mean"] for score in ("ua", "wa", "f1")},
    }


def _differences(runs: Sequence[FinishedRun]) -> list[str]:
    """Warnings about protocols and settings that differ among pooled runs."""
    if not runs:
        return []
    compared = [{**run.settings, "protocol": run.metrics["protocol"]} for run in runs]
    keys = sorted({key for settings in compared for key in settings} - SETTINGS_THAT_MAY_DIFFER)
    warnings = []
    for key in keys:
        values = list(dict.fromkeys(json.dumps(settings.get(key)) for settings in compared))
        if len(values) > 1:
            warnings.append(f"the pooled runs differ in train.{key}: {', '.join(values)}")
    return warnings


def _run_warnings(runs: Sequence[FinishedRun]) -> list[str]:
    """The warnings of the runs; one that not all of them have is preceded by its runs."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for warning in run.metrics["warnings"]:
            found.setdefault(warning, []).append(str(run.folder))
    return [
        warning if len(names) == len(runs) else f"{', '.join(names)}: {warning}" for warning, names in found.items()
    ]
