"""What a run leaves to read: CSV and JSON files, and a table for the terminal."""

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from ...shared.errors import UsageError
from ..data.dataset import Dataset
from ..data.protocol import Split, speakers_in_several
from ..fit.history import Epoch

_SHOWN = {
    "modalities",
    "avel",
    "mem",
    "random_weights",
    "seeds",
    "folds",
    "n",
    "protocol",
    "features",
    "ua_mean",
    "wa_mean",
    "f1_mean",
    "ua_ci95",
    "wa_ci95",
    "per_class_recall",
    "notes",
    "compat",
    "selected_on_test",
    "splits",
}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """JSON for people and for DVC: indented, no NaN."""
    path.write_text(json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def read_metrics(run: Path) -> dict[str, Any]:
    """metrics.json of a finished run, given its folder or the file. Raises UsageError if there is none."""
    path = run / "metrics.json" if run.is_dir() else run
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UsageError(f"{run}: expected the folder of a finished run, got none with a metrics.json") from None
    except ValueError:
        raise UsageError(f"{path}: expected the metrics.json of a run, got a file that is no JSON") from None
    if not isinstance(metrics, dict) or not metrics.keys() >= _SHOWN:
        raise UsageError(f"{path}: expected the metrics.json of a run, got JSON of something else")
    return metrics


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """One line per seed, fold and epoch."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Epoch)], lineterminator="\n")
        writer.writeheader()
        for row in history:
            writer.writerow({name: _rounded(value) for name, value in asdict(row).items()})


def write_predictions(
    path: Path, data: Dataset, rows: Tensor, probabilities: Mapping[int, NDArray[np.float32]], folds: Sequence[str]
) -> None:
    """One line per tested utterance, and per seed if there are several: what the fold that never saw it says.

    rows (m,) of the dataset; probabilities: (m, c) by seed; folds (n): the group of each utterance. A class' column is
    `p_` and its name.
    """
    several = ["seed"] if len(probabilities) > 1 else []
    labels = data.labels.tolist()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*several, "id", "fold", "label", "predicted", *(f"p_{name}" for name in data.classes)])
        for seed, table in probabilities.items():
            for row, shares in zip(rows.tolist(), table, strict=True):
                known = [data.ids[row], folds[row], data.classes[labels[row]], data.classes[int(shares.argmax())]]
                writer.writerow([*([seed] if several else []), *known, *(f"{share:.6f}" for share in shares)])


def title_of(metrics: Mapping[str, Any]) -> str:
    """The run in a few words; random weights are said wherever numbers are shown."""
    extras = [name for name, on in (("AVEL", metrics["avel"]), ("MEM", metrics["mem"])) if on]
    what = " + ".join(["audio and face" if metrics["modalities"] == "both" else metrics["modalities"], *extras])
    said = [f"compat: {', '.join(metrics['compat'])}"] if metrics["compat"] else []
    said += ["selected on test"] if metrics["selected_on_test"] else []
    said += ["encoder with random weights"] if metrics["random_weights"] else []
    return what + (f" ({'; '.join(said)})" if said else "")


def table_of(metrics: Mapping[str, Any]) -> RenderableType:
    """UA, WA and F1 per fold (mean over seeds) and together, in percent, with interval and spread, for rich."""
    seeds = metrics["seeds"]
    caption = f"{metrics['n']} utterances, {metrics['protocol']}, features {metrics['features'][:8]}, "
    caption += f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
    table = Table(title=title_of(metrics), caption=caption, title_justify="left", caption_justify="left")
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
    recalls = "   ".join(
        f"{name} {'-' if value is None else percent(value)}" for name, value in metrics["per_class_recall"].items()
    )
    notes = [Text(f"note: {note}") for note in metrics["notes"]]
    return Group(table, Text(f"recall: {recalls}"), *notes)


def percent(share: float) -> str:
    """0.5 as 50.0."""
    return f"{100 * share:.1f}"


def _rounded(value: float) -> float | str:
    return f"{value:.6f}" if isinstance(value, float) else value


def notes_on(data: Dataset, folds: Split) -> list[str]:
    """What whoever reads the numbers must know."""
    notes = []
    if data.random_weights:
        notes.append(
            "random weights: an encoder of these features never learned anything; the numbers only show that all works"
        )
    if folds.selected_on_test:
        notes.append("selected on test: the test group chose the epoch, so these numbers are too good")
    if several := speakers_in_several(folds.groups, data.speakers):
        notes.append(
            f"{len(several)} of {len(set(data.speakers))} speakers are in more than one {folds.kind}: "
            "the results are not speaker-independent"
        )
    return notes


def versions() -> str:
    """Of what computed the numbers."""
    found = {"foal": version("foal-mer"), "python": platform.python_version(), "torch": torch.__version__}
    return ", ".join(f"{name} {number}" for name, number in {**found, "numpy": np.__version__}.items())
