"""The picture of a comparison of fusion systems: rows sorted by UA, with a bar over those that equal the best one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..ablation import axis_limits, score_text
from ..plots import BLUE, GREEN, INK, MUTED, ORANGE, draw_title, figure, save
from .sentences import Row, compared_rows, equals_best, row_of, title_of

_MARGIN = 0.05  # of the axis, on its right, for the bar


def plot_fusions(path: Path, comparison: Mapping[str, Any]) -> None:
    """Plot the mean UA of each row with its interval; a bar at the right joins the rows that equal the best one.

    Of the baselines, only the best one and the best logistic regression are drawn.
    """
    comparison = {**comparison, "rows": compared_rows(comparison)}
    rows = comparison["rows"]
    with matplotlib.style.context("default"):
        picture, (axes,) = figure(9, 1.9 + 0.27 * len(rows), panels=1)
        for position, row in enumerate(rows):
            _draw(axes, position, row)
        chance = 100 / len(comparison["classes"])
        low, high = axis_limits(comparison)
        axes.axvline(chance, color=MUTED, lw=1.2, ls=":", zorder=1)
        reference = row_of(comparison, comparison["reference"])
        axes.axvline(100 * reference["ua_mean"], color=INK, lw=0.8, zorder=1)
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=9)
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set(color=_colour(row), weight="bold" if row is reference else "normal")
        axes.set(xlabel="UA (%)", ylim=(len(rows) - 0.4, -0.6), xlim=(low, high + _MARGIN * (high - low)))
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="both", color="#eef0f3", lw=0.8)
        axes.set_axisbelow(True)
        _draw_bar(axes, comparison)
        title = f"{title_of(comparison)}: {comparison['n']} utterances, {comparison['protocol']}"
        draw_title(picture, title, size=11)
        picture.legend(
            handles=_marks(comparison, chance), loc="outside lower center", ncols=2, frameon=False, fontsize=8
        )
        save(picture, path)


def _draw(axes: Axes, position: int, row: Row) -> None:
    mean, colour = 100 * row["ua_mean"], _colour(row)
    if row["ua_ci95"] is not None:
        axes.plot([100 * end for end in row["ua_ci95"]], [position, position], color=colour, lw=1.6, zorder=3)
    axes.plot(mean, position, "o", color=colour, ms=6, mec="white", mew=0.8, zorder=4)
    transform = axes.get_yaxis_transform()
    text = score_text(row, "ua")
    axes.text(1.01, position, text, transform=transform, ha="left", va="center", fontsize=8.5, color=colour)


def _draw_bar(axes: Axes, comparison: Mapping[str, Any]) -> None:
    """A bar from the best row to the last one that does not differ from it, with a dot at each of them."""
    positions = [position for position, row in enumerate(comparison["rows"]) if equals_best(comparison, row)]
    share, transform = 1 - _MARGIN / 2, axes.get_yaxis_transform()
    ends = [positions[0], positions[-1]]
    axes.plot([share, share], ends, color=GREEN, lw=2.5, solid_capstyle="round", transform=transform)
    axes.plot([share] * len(positions), positions, "o", color=GREEN, ms=5, transform=transform)


def _marks(comparison: Mapping[str, Any], chance: float) -> list[Line2D]:
    """Entries of the legend."""
    best = row_of(comparison, comparison["best"])["name"]
    others = len(comparison["rows"]) - 1
    return [
        Line2D([], [], marker="o", color=BLUE, lw=1.6, label="mean UA, 95% interval by speaker"),
        Line2D([], [], marker="o", color=ORANGE, lw=1.6, label="baselines"),
        Line2D([], [], marker="o", color=GREEN, lw=2.5, label=f"not different from {best} (Holm p of {others} rows)"),
        Line2D([], [], color=INK, lw=0.8, label=comparison["reference"]),
        Line2D([], [], color=MUTED, lw=1.2, ls=":", label=f"chance ({chance:.1f}%)"),
    ]


def _colour(row: Row) -> str:
    return ORANGE if row["fusion"] is None else BLUE
