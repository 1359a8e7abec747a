"""The runs below a folder: finished, unfinished and damaged ones, newest first, without their predictions."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...shared.errors import FoalError
from ...shared.text import counted
from ..report.formatting import NONE, interval_text, percent
from ..report.results import read_metrics, run_remarks
from ..report.run_folder import FITS, METADATA_FILE, METRICS_FILE, UNFINISHED_SUFFIX

FINISHED, UNFINISHED, DAMAGED = "finished", "unfinished", "damaged"
MODELS = "models"
"""Folder of the networks; an evaluation, which has a metrics.json as well, has none."""
DEFAULT_HEAD = "cross-attention"
"""Head of runs of versions that had no other."""


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """Describe every run in `folder` and below it, newest first.

    Args:
        folder: a folder of runs, or a run.

    Returns:
        One mapping per run, of JSON values: `run` (its folder), `state` (finished, unfinished or damaged), `date` (ISO
        8601, when it was finished, or last continued), `head`, `streams`, `protocol`, `n`, `seeds`, `ua`, `ua_ci95`,
        `ccc`, `ccc_ci95`, `remarks`, `warnings`, and `problem` (None for a finished run). What is unknown is None.

    Raises:
        FoalError: there is no such folder.
    """
    if not folder.is_dir():
        raise FoalError(f"{folder}: no such folder; `foal runs FOLDER` lists the runs below another one")
    found = [(_changed(path), _described(path)) for path in _run_folders(folder)]
    found.sort(key=lambda item: (-item[0], item[1]["run"]))
    return [{**entry, "date": _date(changed)} for changed, entry in found]


def _run_folders(folder: Path) -> Iterator[Path]:
    """The folders of runs, sorted by path; nothing within a run is one, and links are not followed."""
    for place, names, files in os.walk(folder):
        path = Path(place)
        if METADATA_FILE in files or (METRICS_FILE in files and MODELS in names) or is_unfinished(path):
            names.clear()
            yield path
        # Other hidden folders are temporary, or of other programs.
        names[:] = sorted(name for name in names if not name.startswith(".") or is_unfinished(path / name))


def is_unfinished(folder: Path) -> bool:
    """Whether a folder is the hidden one in which a run is written until it is finished."""
    return folder.name.startswith(".") and folder.name.endswith(UNFINISHED_SUFFIX)


def _changed(folder: Path) -> float:
    """Time of the newest file that says how far a run is, in seconds since the epoch; else that of its folder."""
    times = [path.stat().st_mtime for name in (METRICS_FILE, METADATA_FILE) if (path := folder / name).is_file()]
    return times[0] if times else folder.stat().st_mtime


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _described(folder: Path) -> dict[str, Any]:
    if is_unfinished(folder):
        unfinished = _json_object(folder / METADATA_FILE) or {}
        name = folder.name.removeprefix(".").removesuffix(UNFINISHED_SUFFIX)
        done = len(list((folder / FITS).glob("*.json"))) if (folder / FITS).is_dir() else 0
        problem = f"{counted(done, 'fit')} finished; continue with `foal train --resume`"
        return _entry(folder.with_name(name), UNFINISHED, unfinished, problem)
    metadata = _json_object(folder / METADATA_FILE)
    try:
        metrics = read_metrics(folder)
    except FoalError as error:
        reason = str(error) if (folder / METRICS_FILE).exists() else f"{METRICS_FILE} is missing"
        return _entry(folder, DAMAGED, metadata or {}, reason.removeprefix(f"{folder / METRICS_FILE}: "))
    if metadata is None:
        return _entry(folder, DAMAGED, metrics, f"{METADATA_FILE} is missing or no JSON; train again")
    return _entry(folder, FINISHED, metrics, None)


def _entry(folder: Path, state: str, values: Mapping[str, Any], problem: str | None) -> dict[str, Any]:
    scores = values if state == FINISHED else {}
    ratings = scores.get("ratings", {})
    return {
        "run": str(folder),
        "state": state,
        "head": values.get("fusion", DEFAULT_HEAD) if values else None,
        "streams": values.get("streams"),
        "protocol": values.get("protocol"),
        "n": values.get("n"),
        "seeds": values.get("seeds"),
        "ua": scores.get("ua_mean"),
        "ua_ci95": scores.get("ua_ci95"),
        "ccc": ratings.get("ccc_mean"),
        "ccc_ci95": ratings.get("ccc_ci95"),
        "remarks": run_remarks(scores) if scores else [],
        "warnings": scores.get("warnings", []),
        "problem": problem,
    }


def _json_object(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def runs_table(runs: Sequence[Mapping[str, Any]], folder: Path) -> RenderableType:
    """Table of the runs of `list_runs`, scores in percent; problems of unfinished and damaged runs below it."""
    if not runs:
        return Text(f"{folder}: no runs; `foal train` writes them to runs/")
    table = Table()
    for column in ("run", "date", "head", "streams", "protocol", "utterances", "score", "95% interval", "warnings"):
        numbers = column in ("utterances", "score", "95% interval", "warnings")
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    table.add_column("remarks", overflow="fold")
    for run in runs:
        name = run["run"] if Path(run["run"]) == folder else str(Path(run["run"]).relative_to(folder))
        table.add_row(*map(Text, [name, *_cells(run)]))
    problems = [Text(f"{run['run']}: {run['state']}: {run['problem']}") for run in runs if run["problem"]]
    return Group(table, *problems)


def _cells(run: Mapping[str, Any]) -> list[str]:
    """The cells behind the name of a run."""
    score, interval = NONE, NONE
    if run["ua"] is not None:
        score, interval = f"UA {percent(run['ua'])}", interval_text(run["ua_ci95"])
    elif run["ccc"] is not None:
        score = f"CCC {run['ccc']:.3f}"
        interval = NONE if run["ccc_ci95"] is None else " to ".join(f"{end:.2f}" for end in run["ccc_ci95"])
    finished = run["state"] == FINISHED
    return [
        run["date"][:16].replace("T", " "),
        run["head"] or NONE,
        ", ".join(run["streams"] or []) or NONE,
        run["protocol"] or NONE,
        NONE if run["n"] is None else str(run["n"]),
        score,
        interval,
        str(len(run["warnings"])) if finished else NONE,
        "; ".join(run["remarks"]) if finished else run["state"],
    ]
