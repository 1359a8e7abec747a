"""Runs side by side: the settings that differ, their scores, and a paired test where it is allowed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...shared.errors import FoalError, UsageError
from ..metrics.pooling import compare_predictions
from ..metrics.significance import holm
from ..report.formatting import NONE, gain_text, interval_text, p_limit, p_text, percent, setting_text
from ..report.results import read_metrics, run_title
from ..report.run_folder import flat_values
from .finished_run import merged_warnings, read_predictions, read_settings

CONDITIONS = ("protocol", "features", "folds_digest", "classes", "seeds", "n", "versions")
"""Keys of metrics.json that are compared besides the settings."""
SCORES = {"ua": "UA", "wa": "WA", "f1": "F1"}


def compare_runs(runs: Sequence[Path]) -> dict[str, Any]:
    """Compare finished runs; the first one is the reference of the tests.

    Args:
        runs: folders of at least two runs, or their metrics.json.

    Returns:
        JSON values: `runs` (folder, title, scores with intervals, warnings of each), `differences` (values by key, in
        the order of the runs), and `tests`, one per run after the first: either `gain`, `gain_ci95`, `p`, `p_holm`
        (corrected for the number of tests) and `speakers`, or `reason`, why there is none.

    Raises:
        FoalError: a run is missing.
        UsageError: fewer than two runs, the same run twice, or a run that cannot be read.
    """
    folders = [run if run.is_dir() else run.parent for run in runs]
    if len(folders) < 2:
        raise UsageError(f"expected at least two runs to compare, got {len(folders)}; `foal runs` lists them")
    metrics = [read_metrics(run) for run in runs]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("expected different runs to compare, got one of them twice")
    settings = [read_settings(folder) for folder in folders]
    tests = [
        {"run": str(folder), **_paired_test(folders[0], folder, metrics[0], other, resamples=settings[0]["bootstrap"])}
        for folder, other in zip(folders[1:], metrics[1:], strict=True)
    ]
    tested = [test for test in tests if "p" in test]
    for test, corrected in zip(tested, holm([test["p"] for test in tested]), strict=True):
        test["p_holm"] = corrected
    return {
        "runs": [_described(folder, values) for folder, values in zip(folders, metrics, strict=True)],
        "differences": _differences(metrics, settings),
        "tests": tests,
    }


def _paired_test(
    first: Path, other: Path, metrics: Mapping[str, Any], others: Mapping[str, Any], *, resamples: int
) -> dict[str, Any]:
    """The paired test of `other` against `first`, or the reason why there is none."""
    if metrics["folds_digest"] != others["folds_digest"]:
        changed = [key for key in ("protocol", "n") if metrics[key] != others[key]]
        what = ", ".join(f"{'utterances' if key == 'n' else key} {metrics[key]} and {others[key]}" for key in changed)
        return {"reason": f"the folds differ ({what or 'other utterances or groups'}); train both on the same ones"}
    try:
        predictions = read_predictions(other), read_predictions(first)
        result = compare_predictions(*predictions, resamples=resamples)
    except FoalError as error:
        return {"reason": str(error)}
    return {**result, "speakers": len(set(predictions[0].speakers))}


def _described(folder: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    scores = [f"{score}_{part}" for score in SCORES for part in ("mean", "ci95", "std")]
    return {
        "run": str(folder),
        "title": run_title(metrics),
        **{key: metrics.get(key) for key in ("n", "protocol", "features", "seeds", *scores, "per_class_recall")},
        "ratings": metrics.get("ratings"),
        "warnings": metrics["warnings"],
    }


def _differences(metrics: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Values by key where the runs differ: conditions, then settings with their names in params.yaml."""
    compared = [
        {
            **{key: values.get(key) for key in CONDITIONS},
            **{f"train.{key}": value for key, value in flat_values(chosen).items() if key not in CONDITIONS},
        }
        for values, chosen in zip(metrics, settings, strict=True)
    ]
    keys = dict.fromkeys(key for values in compared for key in values)
    columns = {key: [values.get(key) for values in compared] for key in keys}
    return {key: column for key, column in columns.items() if len({json.dumps(value) for value in column}) > 1}


def comparison_table(comparison: Mapping[str, Any]) -> RenderableType:
    """The runs as columns: settings that differ, scores in percent, and the tests against the first run."""
    runs = comparison["runs"]
    table = Table("")
    for name in _short_names([run["run"] for run in runs]):
        table.add_column(name, overflow="fold")
    for key, values in comparison["differences"].items():
        table.add_row(Text(key), *(Text(_cell(key, value)) for value in values))
    table.add_section()
    for score, name in SCORES.items():
        _add_row(table, name, [run[f"{score}_mean"] for run in runs], percent)
        _add_row(table, f"{name}, 95% interval", [run[f"{score}_ci95"] for run in runs], interval_text)
        _add_row(table, f"{name}, deviation over seeds", [run[f"{score}_std"] for run in runs], percent)
    for label in dict.fromkeys(label for run in runs for label in run["per_class_recall"] or {}):
        _add_row(table, f"recall of {label}", [(run["per_class_recall"] or {}).get(label) for run in runs], percent)
    for dimension in dict.fromkeys(name for run in runs for name in (run["ratings"] or {}).get("dimensions", {})):
        rated = [(run["ratings"] or {}).get("dimensions", {}).get(dimension, {}) for run in runs]
        _add_row(table, f"CCC {dimension}", [scores.get("ccc_mean") for scores in rated], "{:.3f}".format)
        intervals = [scores.get("ccc_ci95") for scores in rated]
        _add_row(table, f"CCC {dimension}, 95% interval", intervals, "{0[0]:.2f} to {0[1]:.2f}".format)
    table.add_row("warnings", *(str(len(run["warnings"])) for run in runs))
    warnings = merged_warnings({run["run"]: run["warnings"] for run in runs})
    lines = [*_test_lines(comparison), *(f"warning: {warning}" for warning in warnings)]
    return Group(table, *map(Text, lines))


def _test_lines(comparison: Mapping[str, Any]) -> list[str]:
    """One line per test, and a note if there are too few speakers for a small p value."""
    first = comparison["runs"][0]["run"]
    tested = [test for test in comparison["tests"] if "p" in test]
    lines = []
    for test in comparison["tests"]:
        if "reason" in test:
            lines.append(f"{test['run']} against {first}: no test: {test['reason']}")
            continue
        corrected = f", corrected for {len(tested)} tests {p_text(test['p_holm'])}" if len(tested) > 1 else ""
        gain = gain_text(test["gain"], test["gain_ci95"])
        lines.append(f"{test['run']} against {first}: difference in UA {gain}, p {p_text(test['p'])}{corrected}")
    return lines + (p_limit(tested[0]["speakers"]) if tested else [])


def _add_row(table: Table, name: str, values: Sequence[Any], show: Any) -> None:
    """A row, unless no run has a value."""
    if any(value is not None for value in values):
        table.add_row(Text(name), *(NONE if value is None else show(value) for value in values))


def _cell(key: str, value: Any) -> str:
    if key in ("features", "folds_digest") and isinstance(value, str):
        return value[:8]
    return setting_text(value)


def _short_names(names: Sequence[str]) -> list[str]:
    """The last parts of paths, as far as they differ; else the paths."""
    last = [Path(name).name for name in names]
    return last if len(set(last)) == len(last) else list(names)
