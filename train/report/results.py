"""metrics.json of a run, read and shown in the terminal, without PyTorch and plots: they take seconds to import."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...shared.errors import FoalError, UsageError
from .floor import floor_lines, mem_lines
from .formatting import final_lines, modalities_title, percent
from .ratings import rating_table

_REQUIRED_KEYS = {
    "modalities",
    "avel",
    "mem",
    "random_weights",
    "speaker_statistics",
    "seeds",
    "folds",
    "n",
    "protocol",
    "features",
    "warnings",
    "compat",
    "selected_on_test",
    "folds_digest",
}
_CLASS_KEYS = {"seed_average", "ua_mean", "wa_mean", "f1_mean", "ua_ci95", "wa_ci95", "per_class_recall"}
"""Keys of a run with classes; a run of ratings alone has the key ratings instead."""


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write indented JSON. Raises ValueError for NaN."""
    path.write_text(json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def read_metrics(run: Path) -> dict[str, Any]:
    """Read metrics.json of a finished run.

    Args:
        run: the folder of the run, or the file.

    Raises:
        FoalError: the file does not exist.
        UsageError: it is not the metrics.json of a run.
    """
    path = run / "metrics.json" if run.is_dir() else run
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        if not run.exists():
            raise FoalError(f"{run}: no such run; `foal runs` lists the runs below runs/") from None
        raise FoalError(
            f"{run}: expected the folder of a finished run, found no metrics.json; finish it with `foal train --resume`"
        ) from None
    except ValueError:
        raise UsageError(f"{path}: expected the metrics.json of a run, got invalid JSON") from None
    if (
        not isinstance(metrics, dict)
        or not metrics.keys() >= _REQUIRED_KEYS
        or not (metrics.keys() >= _CLASS_KEYS or "ratings" in metrics)
    ):
        raise UsageError(
            f"{path}: expected the metrics.json of a run of `foal train`, got other JSON; runs of older versions have "
            "to be trained again"
        )
    return metrics


def run_title(metrics: Mapping[str, Any]) -> str:
    """Title of tables and plots: modalities, losses, and in brackets what makes the scores unusable."""
    losses = [name for name, enabled in (("AVEL", metrics["avel"]), ("MEM", metrics["mem"])) if enabled]
    title = " + ".join([modalities_title(metrics["modalities"]), *losses])
    if metrics.get("context"):
        title += f", {metrics['fusion']}, context {metrics['context']}"
    if "target" in metrics:
        title += f": {', '.join(metrics['target'])}"
    remarks = run_remarks(metrics)
    return title + (f" ({'; '.join(remarks)})" if remarks else "")


def run_remarks(metrics: Mapping[str, Any]) -> list[str]:
    """What makes the scores of a run unusable or unusual, in a few words each."""
    remarks = [f"compat: {', '.join(metrics['compat'])}"] if metrics["compat"] else []
    remarks += ["reads the future"] if metrics.get("reads_future") else []
    remarks += ["selected on test"] if metrics["selected_on_test"] else []
    remarks += ["features per fold"] if metrics.get("fold_streams") else []
    remarks += ["speaker statistics"] if metrics.get("speaker_statistics") else []
    remarks += ["encoder with random weights"] if metrics["random_weights"] else []
    remarks += ["encoder saw the corpus"] if metrics.get("encoder_saw_corpus") else []
    return remarks


def results_table(metrics: Mapping[str, Any]) -> RenderableType:
    """Table of UA, WA and F1 per fold (mean over seeds) and over all folds, in percent, with interval and deviation."""
    warnings = [*map(Text, final_lines(metrics)), *(Text(f"warning: {warning}") for warning in metrics["warnings"])]
    if "ua_mean" not in metrics:
        return Group(rating_table(metrics, title=run_title(metrics), caption=_caption(metrics)), *warnings)
    seeds = metrics["seeds"]
    table = Table()
    for column in ("test", "development", "epoch", "UA", "WA", "F1"):
        table.add_column(column, justify="left" if column in ("test", "development") else "right")
    for test in dict.fromkeys(fold["test"] for fold in metrics["folds"]):
        rows = [fold for fold in metrics["folds"] if fold["test"] == test]
        epochs = ", ".join(str(row["epoch"]) for row in rows)
        means = [percent(float(np.mean([row[score] for row in rows]))) for score in ("ua", "wa", "f1")]
        table.add_row(test, rows[0]["dev"], epochs, *means)
    table.add_section()
    scores = ("ua", "wa", "f1")
    table.add_row("all folds", "", "", *(percent(metrics[f"{score}_mean"]) for score in scores), style="bold")
    if metrics["ua_ci95"] is not None:
        intervals = ["-".join(map(percent, metrics[f"{score}_ci95"])) for score in ("ua", "wa")]
        table.add_row("95% interval", "by speaker", "", *intervals, "")
    if len(seeds) > 1:
        table.add_row("deviation", "over seeds", "", *(percent(metrics[f"{score}_std"]) for score in scores))
    if metrics["seed_average"] is not None:
        averages = (percent(metrics["seed_average"][f"{score}_mean"]) for score in scores)
        table.add_row("seeds averaged", "", "", *averages)
    recalls = "   ".join(
        f"{name} {'-' if value is None else percent(value)}" for name, value in metrics["per_class_recall"].items()
    )
    ratings = [rating_table(metrics)] if "ratings" in metrics else []
    # Not the title and the caption of the table, which are folded at its width.
    title, caption = Text(run_title(metrics), style="italic"), Text(_caption(metrics))
    lines = [f"recall: {recalls}", *floor_lines(metrics), *mem_lines(metrics)]
    return Group(title, table, caption, *map(Text, lines), *ratings, *warnings)


def _caption(metrics: Mapping[str, Any]) -> str:
    seeds = metrics["seeds"]
    return (
        f"{metrics['n']} utterances, {metrics['protocol']}, features {metrics['features'][:8]}, "
        f"{f'seed {seeds[0]}' if len(seeds) == 1 else f'{len(seeds)} seeds'}"
    )
