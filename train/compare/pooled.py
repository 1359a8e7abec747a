"""Results of several finished runs, pooled from their predictions.csv, and their comparison with other runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...shared.text import counted
from ..metrics.pooling import compare_predictions, pool_predictions, prediction_scores
from ..report.floor import floor_lines
from ..report.formatting import p_text, percent, setting_text, signed
from ..report.results import run_title
from .finished_run import FinishedRun, merged_warnings, read_run
from .pooled_floor import pooled_floor

SETTINGS_THAT_MAY_DIFFER = {"seeds", "load", "disk_buffer_mb", "bootstrap"}
"""Settings without a warning if the pooled runs differ in them: they are no property of the systems."""


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
        "warnings": [
            *_differences(own),
            *_differences(others),
            *merged_warnings({str(run.folder): run.metrics["warnings"] for run in [*own, *others]}),
        ],
    }


def pooled_table(results: Mapping[str, Any]) -> RenderableType:
    """Table of the runs and of their pooled scores, in percent, with the comparison and the warnings."""
    runs, seeds = results["runs"], results["seeds"]
    titles = " / ".join(dict.fromkeys(run["title"] for run in runs))
    table = Table()
    title = titles if len(runs) == 1 else f"{len(runs)} runs pooled: {titles}"
    caption = f"{results['n']} utterances, {results['speakers']} speakers, {counted(seeds, 'seed')}"
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
    return Group(
        Text(title, style="italic"),
        table,
        Text(caption),
        *lines,
        Text(f"recall: {recalls}"),
        *map(Text, floor_lines(results)),
        *warnings,
    )


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
        values = list(dict.fromkeys(setting_text(settings.get(key)) for settings in compared))
        if len(values) > 1:
            warnings.append(f"the pooled runs differ in train.{key}: {' and '.join(values)}")
    return warnings
