"""Plots of a run as PNG: confusion matrix, learning curves, and predicted against true ratings."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..fit.history import Epoch
from .formatting import percent

INK, MUTED, BLUE, ORANGE, GREEN = "#1f2933", "#9aa5b1", "#2563a8", "#c2571a", "#3a7d44"
RESOLUTION_DPI = 150


def plot_confusion(path: Path, metrics: Mapping[str, Any], *, title: str) -> None:
    """Write the confusion matrix as PNG."""
    save(confusion_figure(metrics, title=title), path)


def confusion_figure(metrics: Mapping[str, Any], *, title: str) -> Figure:
    """Draw the confusion matrix: shares of each true class, with counts over all seeds."""
    classes = metrics["classes"]
    counts = np.array(metrics["confusion"])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 2.6 + 0.75 * len(classes)
    with matplotlib.style.context("default"):
        picture, (axes,) = figure(side, side, panels=1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            axes.text(
                column,
                row,
                f"{percent(share)}%\n{counts[row, column]}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if share > 0.55 else INK,
            )
        axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="predicted", ylabel="true")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_title(
            f"{wrapped(title, side - 1.1)}\nUA {percent(metrics['ua_mean'])}%  WA {percent(metrics['wa_mean'])}%",
            fontsize=10,
            loc="left",
            color=INK,
        )
    return picture


def plot_learning(
    path: Path,
    history: Sequence[Epoch],
    best: Mapping[tuple[int, int], int],
    *,
    title: str,
    mem_chance: float | None = None,
) -> None:
    """Write the learning curves as PNG; see `learning_figure`."""
    save(learning_figure(history, best, title=title, mem_chance=mem_chance), path)


def learning_figure(
    history: Sequence[Epoch],
    best: Mapping[tuple[int, int], int],
    *,
    title: str,
    mem_chance: float | None = None,
) -> Figure:
    """Draw training losses and, if there is any, development UA (CCC without classes), one line per seed and fold.

    Args:
        history: all epochs of all fits.
        best: number of the best epoch by seed and fold, marked with a dot.
        title: title of the plot.
        mem_chance: loss of a matching head that ignores its inputs, drawn as a line; None: none.
    """
    runs: dict[tuple[int, int], list[Epoch]] = {}
    for row in history:
        runs.setdefault((row.seed, row.fold), []).append(row)
    scored = any(row.dev_ua is not None or row.dev_ccc is not None for row in history)
    with matplotlib.style.context("default"):
        picture, (left, *rest) = figure(9 if scored else 4.8, 3.6, panels=2 if scored else 1)
        losses = [("classes", "loss_classes", BLUE), ("AVEL", "loss_avel", ORANGE), ("MEM", "loss_mem", GREEN)]
        losses += [("1 - CCC", "loss_ratings", INK), ("fusion head", "loss_fusion", MUTED)]
        for label, field, colour in losses:
            if not any(getattr(row, field) for row in history):
                continue  # disabled
            for number, rows in enumerate(runs.values()):
                epochs, values = [row.epoch for row in rows], [getattr(row, field) for row in rows]
                left.plot(epochs, values, color=colour, lw=1, alpha=0.6, label=label if number == 0 else None)
        if mem_chance is not None:
            left.axhline(mem_chance, color=GREEN, lw=1, ls=":", label="MEM at chance")
        left.legend(frameon=False, fontsize=9)
        left.set(xlabel="epoch", ylabel="training loss (unweighted)", ylim=(0, None))
        for right in rest:
            _draw_development(right, runs, best)
        for axes in (left, *rest):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#e4e7eb", lw=0.8)
            axes.set_axisbelow(True)
        draw_title(picture, title)
    return picture


def _draw_development(
    axes: Axes, runs: Mapping[tuple[int, int], Sequence[Epoch]], best: Mapping[tuple[int, int], int]
) -> None:
    ratings = all(row.dev_ua is None for rows in runs.values() for row in rows)
    for run, rows in runs.items():
        scores = [row.dev_ccc or 0.0 if ratings else 100 * (row.dev_ua or 0.0) for row in rows]
        axes.plot([row.epoch for row in rows], scores, color=MUTED, lw=1)
        axes.plot(best[run], scores[best[run] - 1], "o", color=BLUE, ms=5)
    if ratings:
        axes.set(xlabel="epoch", ylabel="development CCC (mean of the dimensions)", ylim=(None, 1))
    else:
        axes.set(xlabel="epoch", ylabel="development UA (%)", ylim=(0, 100))
    axes.set_title("dots: selected epochs", fontsize=9, loc="right", color=MUTED)


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
            axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_title(f"CCC {scores['ccc_mean']:.3f}  MAE {scores['mae_mean']:.3f}", fontsize=9, loc="left")
            if not len(y):
                continue
            low, high = float(min(y.min(), x.min())), float(max(y.max(), x.max()))
            axes.plot([low, high], [low, high], color=MUTED, lw=1, ls=":", label="predicted = true")
            # Ratings are means of few raters: points would hide each other.
            axes.plot(y, x, "o", color=BLUE, ms=3.5, alpha=0.4, mew=0)
            if y.min() < y.max():
                slope, offset = np.polyfit(y, x, 1)
                ends = np.array([y.min(), y.max()])
                axes.plot(ends, slope * ends + offset, color=INK, lw=1.2, label="fitted line")
        panels[0].legend(frameon=False, fontsize=8)
        draw_title(picture, title)
        save(picture, path)


def wrapped(title: str, inches: float, *, size: float = 10) -> str:
    """Break a title between words into lines that are not cut at the edge of a picture.

    Args:
        title: the title.
        inches: room for a line.
        size: of the font, in points; a letter is 0.56 of it wide on average.
    """
    return textwrap.fill(title, max(16, int(inches * 72 / (0.56 * size))), break_on_hyphens=False)


def draw_title(picture: Figure, title: str, *, size: float = 10) -> None:
    """Write the title of a picture above its panels, at the left, in as many lines as it needs."""
    text = wrapped(title, float(picture.get_figwidth()) * 0.98, size=size)
    picture.suptitle(text, fontsize=size, x=0.01, ha="left", color=INK)


def figure(width: float, height: float, *, panels: int) -> tuple[Figure, list[Axes]]:
    """Create a figure with panels side by side, without pyplot and its global state; sizes in inches."""
    picture = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(picture)
    return picture, [picture.add_subplot(1, panels, panel + 1) for panel in range(panels)]


def save(picture: Figure, path: Path) -> None:
    """Write PNG without the library's version, so that equal figures give equal bytes."""
    picture.savefig(path, dpi=RESOLUTION_DPI, metadata={"Software": None})
