"""CSV and JSON files of a run, and the results table of the terminal."""

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields
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

from ...shared.config.train_settings import TrainSettings
from ...shared.errors import UsageError
from ...shared.seen_corpora import seen_corpus_warnings
from ..data.dataset import Dataset
from ..data.protocol import CrossValidation, speakers_in_multiple_folds
from ..data.streams import modalities_title
from ..fit.history import Epoch
from ..fit.task import FitResult
from ..folds.scenes import KIND as BLOCK
from .floor import floor_lines
from .formatting import final_lines, percent
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
        UsageError: the file does not exist or is not the metrics.json of a run.
    """
    path = run / "metrics.json" if run.is_dir() else run
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UsageError(
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


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Write history.csv, one line per seed, fold and epoch."""
    with path.open("w", encoding="utf-8", newline="") as file:
        unused = {name for name in _OPTIONAL_EPOCH_COLUMNS if all(getattr(row, name) is None for row in history)}
        names = [field.name for field in fields(Epoch) if field.name not in unused]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in history:
            writer.writerow({name: _rounded(getattr(row, name)) for name in names})


_OPTIONAL_EPOCH_COLUMNS = ("loss_ratings", "loss_fusion", "dev_ccc")


def write_predictions(
    path: Path,
    data: Dataset,
    rows: Tensor,
    probabilities: Mapping[int, NDArray[np.float32]],
    folds: Sequence[str],
    ratings: Mapping[int, NDArray[np.float32]] | None = None,
) -> None:
    """Write predictions.csv: one line per tested utterance, and per seed if there are several.

    Args:
        path: the file.
        data: the dataset.
        rows: tested rows, (m,).
        probabilities: (m, c) by seed, from the network that was not trained on the utterance; columns `p_<class>`.
        folds: group of each utterance, n.
        ratings: predicted ratings (m, k) by seed (None: no targets); columns `predicted_<dimension>` beside the true
            `<dimension>`.
    """
    several = ["seed"] if len(probabilities) > 1 else []
    labels = data.labels.tolist()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        of_classes = ["label", "predicted", *(f"p_{name}" for name in data.classes)] if data.classes else []
        of_ratings = [column for name in data.targets.dimensions for column in (name, f"predicted_{name}")]
        writer.writerow([*several, "id", "speaker", "fold", *of_classes, *of_ratings])
        for seed, table in probabilities.items():
            rated = np.zeros((len(rows), 0), np.float32) if ratings is None else ratings[seed]
            for row, shares, values in zip(rows.tolist(), table, rated, strict=True):
                names = [data.ids[row], data.speakers[row], folds[row]]
                classes: list[str] = []
                if data.classes:
                    classes = [data.classes[labels[row]], data.classes[int(shares.argmax())]]
                seed_cell = [seed] if several else []
                cells = [*classes, *(f"{share:.6f}" for share in shares), *_rating_cells(data, row, values)]
                writer.writerow([*seed_cell, *names, *cells])


def _rating_cells(data: Dataset, row: int, predicted: NDArray[np.float32]) -> list[str]:
    """True and predicted rating of each dimension; an empty cell where there is none."""
    utterance, cells = data.utterances[row], []
    for name, value in zip(data.targets.dimensions, predicted, strict=True):
        truth = getattr(utterance, name)
        cells += ["" if truth is None else f"{truth:g}", f"{value:.6f}"]
    return cells


def run_title(metrics: Mapping[str, Any]) -> str:
    """Title of tables and plots: modalities, losses, and in brackets what makes the scores unusable."""
    losses = [name for name, enabled in (("AVEL", metrics["avel"]), ("MEM", metrics["mem"])) if enabled]
    title = " + ".join([modalities_title(metrics["modalities"]), *losses])
    if metrics.get("context"):
        title += f", {metrics['fusion']}, context {metrics['context']}"
    if "target" in metrics:
        title += f": {', '.join(metrics['target'])}"
    remarks = [f"compat: {', '.join(metrics['compat'])}"] if metrics["compat"] else []
    remarks += ["reads the future"] if metrics.get("reads_future") else []
    remarks += ["selected on test"] if metrics["selected_on_test"] else []
    remarks += ["features per fold"] if metrics.get("fold_streams") else []
    remarks += ["speaker statistics"] if metrics.get("speaker_statistics") else []
    remarks += ["encoder with random weights"] if metrics["random_weights"] else []
    remarks += ["encoder saw the corpus"] if metrics.get("encoder_saw_corpus") else []
    return title + (f" ({'; '.join(remarks)})" if remarks else "")


def results_table(metrics: Mapping[str, Any]) -> RenderableType:
    """Table of UA, WA and F1 per fold (mean over seeds) and over all folds, in percent, with interval and deviation."""
    warnings = [*map(Text, final_lines(metrics)), *(Text(f"warning: {warning}") for warning in metrics["warnings"])]
    if "ua_mean" not in metrics:
        return Group(rating_table(metrics, title=run_title(metrics), caption=_caption(metrics)), *warnings)
    seeds = metrics["seeds"]
    table = Table(title=run_title(metrics), caption=_caption(metrics), title_justify="left", caption_justify="left")
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
    return Group(table, Text(f"recall: {recalls}"), *map(Text, floor_lines(metrics)), *ratings, *warnings)


def _caption(metrics: Mapping[str, Any]) -> str:
    seeds = metrics["seeds"]
    return (
        f"{metrics['n']} utterances, {metrics['protocol']}, features {metrics['features'][:8]}, "
        f"{f'seed {seeds[0]}' if len(seeds) == 1 else f'{len(seeds)} seeds'}"
    )


def _rounded(value: float) -> float | str:
    return f"{value:.6f}" if isinstance(value, float) else value


def head_json(settings: TrainSettings) -> dict[str, Any]:
    """The head, the turns that it reads beside a turn (None: it reads no dialogs), and whether they are later ones."""
    return {
        "fusion": settings.fusion,
        **({"fusion_options": options} if (options := settings.head_options.model_dump(mode="json")) else {}),
        "context": settings.context if settings.over_dialogs else None,
        "reads_future": settings.over_dialogs and settings.context == "both",
    }


def fold_streams_json(data: Dataset) -> dict[str, dict[str, str]]:
    """Stream names by fold and modality; empty if all folds share them."""
    return {str(number): dict(streams) for number, streams in data.fold_streams.items()}


def warnings_for(data: Dataset, folds: CrossValidation) -> list[str]:
    """Warnings about the scores: how folds were made, random weights, selection on test, groups that share speakers."""
    warnings = list(folds.notes)
    if data.random_weights:
        warnings.append("random weights: the encoder has random weights; the scores only show that the pipeline runs")
    if data.speaker_statistics is not None:
        warnings.append(
            "speaker statistics: each speaker's features are standardized with all utterances of the speaker; this "
            "uses the unlabelled utterances of the test speakers"
        )
        single = int((data.speaker_statistics.utterances == 1).sum())
        if single:
            warnings.append(
                f"{single} of {len(data.speaker_statistics.utterances)} speakers have one utterance only: it is "
                "standardized mostly with the statistics of the training group"
            )
    warnings += corpora_seen(data)
    if folds.selected_on_test:
        warnings.append(
            "selected on test: the epoch was chosen on the test group, so the scores are optimistically biased"
        )
    # The sessions of blocks are held out: a speaker may be in several blocks, but not in several sessions.
    blocks = folds.kind == BLOCK
    groups = [utterance.session for utterance in data.utterances] if blocks else folds.groups
    if several := speakers_in_multiple_folds(groups, data.speakers):
        warnings.append(
            f"{len(several)} of {len(set(data.speakers))} speakers are in more than one "
            f"{'session' if blocks else folds.kind}: "
            "the results are not speaker-independent"
        )
    return warnings


def corpora_seen(data: Dataset) -> list[str]:
    """Warnings about encoders that were trained on labels of the dataset's corpora."""
    seen = {name: made.get("seen_corpora", []) for name, made in data.provenance.items()}
    return seen_corpus_warnings(seen, (utterance.corpus for utterance in data.utterances))


def selection_warnings(data: Dataset, folds: CrossValidation, select: str, results: Sequence[FitResult]) -> list[str]:
    """Warnings about development groups that cannot choose an epoch: solved ones, and ones of a single class."""
    if select == "last":
        return []
    warnings = []
    single = [str(fold.number) for fold in folds.folds if len(torch.unique(data.labels[fold.dev_rows])) == 1]
    if single and data.classes:
        warnings.append(
            f"development group of a single class in fold {', '.join(single)}: it cannot choose an epoch; use "
            "--select last, or another protocol"
        )
    fits = [result for result in results if result.epoch is not None and result.history]
    solved = [fit for fit in fits if fit.history[(fit.epoch or 1) - 1].dev_ua == 1.0]
    if select == "ua" and solved:
        warnings.append(
            f"development group solved (UA 100%) in {len(solved)} of {len(fits)} fits: it cannot choose between "
            "epochs; use --select loss or --select last"
        )
    return warnings


def versions() -> str:
    """Versions of foal, Python and the libraries that computed the scores."""
    numbers = {
        "foal": version("foal-mer"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
