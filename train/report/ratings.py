"""Ratings in reports: the table of CCC and MAE, and the plot of predicted against true ratings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from .formatting import NONE
from .plots import BLUE, INK, MUTED, figure, save


def rating_table(metrics: Mapping[str, Any], *, title: str = "ratings", caption: str | None = None) -> Table:
    """CCC and MAE of each dimension per test group (mean over seeds) and over all folds, with interval and deviation.

    Args:
        metrics: content of metrics.json of a run with ratings.
        title: title of the table.
        caption: line under the table.
    """
    ratings, names = metrics["ratings"], list(metrics["ratings"]["dimensions"])
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for column in ("test", "development", *(f"{score} {name}" for name in names for score in ("CCC", "MAE"))):
        table.add_column(column, justify="left" if column in ("test", "development") else "right")
    if len(names) > 1:
        table.add_column("mean CCC", justify="right")
    mean = (lambda value: [value]) if len(names) > 1 else (lambda value: [])
    for test in dict.fromkeys(fold["test"] for fold in metrics["folds"]):
        folds = [fold for fold in metrics["folds"] if fold["test"] == test]
        cells = [
            _average([fold["ratings"][name][score] for fold in folds]) for name in names for score in ("ccc", "mae")
        ]
        table.add_row(test, folds[0]["dev"], *cells, *mean(""))
    table.add_section()
    dimensions = ratings["dimensions"].values()

    def row(suffix: str) -> list[str]:
        scores = [part[f"{score}_{suffix}"] for part in dimensions for score in ("ccc", "mae")]
        return [_text(value) for value in (*scores, *mean(ratings[f"ccc_{suffix}"]))]

    table.add_row("all folds", "", *row("mean"), style="bold")
    if ratings["ccc_ci95"] is not None:
        table.add_row("95% interval", "by speaker", *row("ci95"))
    if len(metrics["seeds"]) > 1:
        table.add_row("deviation", "over seeds", *row("std"))
    return table


def _average(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return _text(float(np.mean(known)) if known else None)


def _text(value: float | Sequence[float] | None) -> str:
    """A score with three decimals, an interval as "0.41 to 0.62"; None as "-"."""
    if value is None:
        return NONE
    if isinstance(value, Sequence):
        return " to ".join(f"{end:.2f}" for end in value)
    return f"{value:.3f}"


def plot_ratings(
    path: Path,
    truth: NDArray[np.float32],
    predicted: NDArray[np.float32],
    metrics: Mapping[str, Any],
    *,
    title: str,
) -> None:
    """Plot predicted against true ratings, one panel per dimension, with the diagonal and a fitted line.

    Args:
        path: the file.
        truth: ratings, (n, k), NaN for none.
        predicted: predicted ratings, mean over seeds, (n, k).
        metrics: content of metrics.json.
        title: title of the plot.
    """
    dimensions = metrics["ratings"]["dimensions"]
    with matplotlib.style.context("default"):
        picture, panels = figure(3.6 * len(dimensions), 4.0, panels=len(dimensions))
        for column, (axes, (name, scores)) in enumerate(zip(panels, dimensions.items(), strict=True)):
            y, x = truth[:, column], predicted[:, column]
            y, x = y[~np.isnan(y)], x[~np.isnan(y)]
            low, high = float(min(y.min(), x.min())), float(max(y.max(), x.max()))
            axes.plot([low, high], [low, high], color=MUTED, lw=1, ls=":", label="predicted = true")
            # Ratings are means of few raters: points would hide each other.
            axes.plot(y, x, "o", color=BLUE, ms=3.5, alpha=0.4, mew=0)
            slope, offset = np.polyfit(y, x, 1)
            ends = np.array([y.min(), y.max()])
            axes.plot(ends, slope * ends + offset, color=INK, lw=1.2, label="fitted line")
            axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
            axes.set_title(f"CCC {scores['ccc_mean']:.3f}  MAE {scores['mae_mean']:.3f}", fontsize=9, loc="left")
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].legend(frameon=False, fontsize=8)
        picture.suptitle(title, fontsize=10, x=0.01, ha="left", color=INK)
        save(picture, path)
