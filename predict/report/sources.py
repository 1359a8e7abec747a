"""What a report is made from: the files of a run, an evaluation, an ablation, a comparison of fusions or a tuning."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...shared.errors import UsageError

RUN, EVALUATION, ABLATION, FUSIONS, TUNING = "run", "evaluation", "ablation", "fusions", "tuning"
METRICS = "metrics.json"
STUDIES = {"fusions.json": FUSIONS, "ablation.json": ABLATION, "tune.json": TUNING}
"""Files of the studies; looked for before metrics.json."""

_KEYS = {
    RUN: {"protocol", "features", "seeds", "folds", "n", "warnings", "folds_digest"},
    EVALUATION: {"protocol", "features", "seeds", "sessions", "n", "warnings", "run"},
    ABLATION: {"protocol", "features", "seeds", "rows", "warnings", "settings", "verdict"},
    FUSIONS: {"protocol", "features", "seeds", "rows", "warnings", "settings", "best_baseline", "best"},
    TUNING: {"protocol", "features", "seeds", "trials", "warnings", "settings", "tuned", "current"},
}
"""Keys that the file of each kind has."""

Row = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The content of the files behind a report.

    Attributes:
        kind: RUN, EVALUATION, ABLATION, FUSIONS or TUNING.
        folder: the folder of these files.
        content: metrics.json, ablation.json, fusions.json or tune.json.
        evaluation: metrics.json of the run's detailed evaluation; empty without one.
        metadata: run.json; empty without one.
        history: rows of history.csv.
        predictions: rows of predictions.csv.
        notes: why something that lies in the folder is not in the report.
    """

    kind: str
    folder: Path
    content: Mapping[str, Any]
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Row] = ()
    predictions: Sequence[Row] = ()
    notes: Sequence[str] = ()


def read_source(path: Path) -> Source:
    """Read what a report is made from.

    Args:
        path: the folder of a run, an evaluation, an ablation, a comparison of fusions or a tuning, or its JSON file.

    Raises:
        UsageError: it is none of them, or cannot be read.
    """
    file = _result_file(path)
    content = _read_json(file)
    kind = STUDIES.get(file.name) or (EVALUATION if "run" in content and "folds" not in content else RUN)
    if not content.keys() >= _KEYS[kind]:
        raise UsageError(
            f"{file}: expected a result of `foal train`, `evaluate`, `ablate` or `tune` of this version, got other "
            f"JSON (without {', '.join(sorted(_KEYS[kind] - content.keys())[:3])}); run the command again"
        )
    if kind == RUN:
        return _run(file.parent, content)
    if kind == EVALUATION:
        return _evaluation(file.parent, content)
    return Source(kind=kind, folder=file.parent, content=content)


def _result_file(path: Path) -> Path:
    names = [*STUDIES, METRICS]
    if path.is_file() and path.name in names:
        return path
    if path.is_dir():
        found = [path / name for name in names if (path / name).is_file()]
        if found:
            return found[0]
    got = "a folder without them" if path.is_dir() else "another file" if path.exists() else "nothing"
    raise UsageError(
        f"{path}: expected the folder of a finished run, evaluation, ablation or tuning (with {', '.join(names[:-1])} "
        f"or {names[-1]}), got {got}; finish a run with `foal train --resume`"
    )


def _run(folder: Path, metrics: Mapping[str, Any]) -> Source:
    evaluation, notes = {}, []
    if (folder / "evaluation" / METRICS).is_file():
        evaluation = _read_json(folder / "evaluation" / METRICS)
        if not _is_of(evaluation, metrics):
            evaluation = {}
            notes.append("The folder evaluation is of another run and is left out; run `foal evaluate --force` again.")
    return _source(RUN, folder, folder, metrics, evaluation, notes)


def _evaluation(folder: Path, evaluation: Mapping[str, Any]) -> Source:
    """An evaluation; predictions and curves are those of the run in whose folder it lies."""
    run = folder.parent
    metrics = _read_json(run / METRICS) if (run / METRICS).is_file() else {}
    ours = _is_of(evaluation, metrics) and evaluation["features"] == metrics["features"]
    return _source(EVALUATION, folder, run if ours else None, evaluation, evaluation, [])


def _source(
    kind: str,
    folder: Path,
    run: Path | None,
    content: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    notes: Sequence[str],
) -> Source:
    has_metadata = run is not None and (run / "run.json").is_file()
    return Source(
        kind=kind,
        folder=folder,
        content=content,
        evaluation=evaluation,
        metadata=_read_json(run / "run.json") if run is not None and has_metadata else {},
        history=[] if run is None else _read_rows(run / "history.csv"),
        predictions=[] if run is None else _read_rows(run / "predictions.csv"),
        notes=notes,
    )


def _is_of(evaluation: Mapping[str, Any], metrics: Mapping[str, Any]) -> bool:
    """Whether an evaluation scored the networks of a run."""
    made = evaluation.get("run")
    keys = ("features", "folds_digest", "versions")
    return isinstance(made, dict) and bool(metrics) and all(made.get(key) == metrics.get(key) for key in keys)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except ValueError:
        raise UsageError(f"{path}: expected JSON of foal, got a damaged file; run the command again") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a JSON object of foal, got other JSON; run the command again")
    return content


def _read_rows(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path}: expected a CSV file of foal, got one that cannot be read ({error})") from None
