"""The ablation study as Markdown, as a plot and as a table of the terminal, from the content of ablation.json."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .floor import floor_lines
from .formatting import NONE, gain_text, interval_text, p_limit, p_text, table_row
from .plots import BLUE, INK, MUTED, ORANGE, draw_title, figure, save
from .ratings import rating_ablation_table

_ON_TEST = "selected on test"
_COLOURS = {False: BLUE, True: ORANGE}  # by whether a row was selected on test
_PALE = "#cbd2d9"
_NAME_WIDTH = 46  # characters of a system's name on one line of the picture


def write_markdown(path: Path, ablation: Mapping[str, Any]) -> None:
    """Write ablation.md: conditions, table, warnings, and an explanation of the columns."""
    head = table_head(ablation)
    lines = [
        f"# {title_of(ablation)}",
        "",
        *([verdict, ""] if (verdict := verdict_line(ablation)) else []),
        conditions_line(ablation),
        "",
        table_row(head),
        table_row(["---", *["---:"] * (len(head) - 1)]),
        *(table_row(table_cells(ablation, row)) for row in ablation["rows"]),
        "",
    ]
    if floors := floor_lines(ablation):
        lines += [*(f"- {line}" for line in floors), ""]
    if ablation["warnings"]:
        lines += [*(f"- {warning}" for warning in ablation["warnings"]), ""]
    path.write_text("\n".join([*lines, *explanation_lines(ablation), ""]), encoding="utf-8")


def ablation_table(ablation: Mapping[str, Any]) -> RenderableType:
    """The table and its warnings for the terminal; the baseline is bold."""
    if "target" in ablation:
        return rating_ablation_table(ablation)
    table = Table(
        title=title_of(ablation), caption=conditions_line(ablation), title_justify="left", caption_justify="left"
    )
    for number, column in enumerate(table_head(ablation)):
        table.add_column(Text(column), justify="right" if number else "left")
    for row in ablation["rows"]:
        style = "bold" if row["id"] == ablation["baseline"] else None
        table.add_row(*map(Text, table_cells(ablation, row)), style=style)
    verdict = verdict_line(ablation)
    first = [Text(verdict, style="bold")] if verdict else []
    floors = map(Text, floor_lines(ablation))
    return Group(*first, table, *floors, *(Text(f"warning: {warning}") for warning in ablation["warnings"]))


def verdict_line(ablation: Mapping[str, Any]) -> str | None:
    """Whether Foal-Net is better than the best baseline, with interval and p; None if it was not fitted."""
    verdict = ablation["verdict"]
    if verdict is None:
        return None
    rows = {row["id"]: row for row in ablation["rows"]}
    system, best = rows[verdict["system"]], rows[verdict["baseline"]]
    gain = gain_text(verdict["gain"], verdict["gain_ci95"])
    return (
        f"{system['name']}: UA {100 * system['ua_mean']:.1f}; best baseline ({best['name']}): "
        f"{100 * best['ua_mean']:.1f}; difference {gain}, p {p_text(verdict['p'])}"
    )


def plot_ablation(path: Path, ablation: Mapping[str, Any]) -> None:
    """Plot the mean UA of each system, in the table's order, with its interval and its deviation over seeds."""
    rows = ablation["rows"]
    with matplotlib.style.context("default"):
        picture, (axes,) = figure(10, 1.7 + 0.3 * len(rows), panels=1)
        for position, row in enumerate(rows):
            _draw(axes, position, row)
        axes.axvline(100 / len(ablation["classes"]), color=MUTED, lw=1.2, ls=":", zorder=1)
        axes.axvline(100 * _baseline(ablation)["ua_mean"], color=INK, lw=0.8, zorder=1)
        names = [textwrap.fill(row["name"], _NAME_WIDTH) for row in rows]
        axes.set_yticks(range(len(rows)), names, fontsize=9, linespacing=0.95)
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set(color=_ink(row), weight="bold" if row["id"] == ablation["baseline"] else "normal")
        axes.set(xlabel="UA (%)", ylim=(len(rows) - 0.4, -0.6), xlim=axis_limits(ablation))
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="both", color="#eef0f3", lw=0.8)
        axes.set_axisbelow(True)
        title = f"{title_of(ablation)}: {ablation['n']} utterances, {ablation['protocol']}"
        draw_title(picture, title, size=11)
        marks = _marks(ablation)
        picture.legend(
            handles=marks, loc="outside lower center", ncols=(len(marks) + 1) // 2, frameon=False, fontsize=8
        )
        save(picture, path)


def _draw(axes: Axes, position: int, row: Mapping[str, Any]) -> None:
    mean, colour = 100 * row["ua_mean"], _colour(row)
    if row["ua_std"] is not None:
        spread = 100 * row["ua_std"]
        axes.plot(
            [mean - spread, mean + spread], [position, position], color=_PALE, lw=9, solid_capstyle="butt", zorder=2
        )
    if row["ua_ci95"] is not None:
        axes.plot([100 * end for end in row["ua_ci95"]], [position, position], color=colour, lw=1.6, zorder=3)
    axes.plot(mean, position, "o", color=colour, ms=6.5, mec="white", mew=0.8, zorder=4)
    axes.text(
        1.01,
        position,
        score_text(row, "ua"),
        transform=axes.get_yaxis_transform(),
        ha="left",
        va="center",
        fontsize=9,
        color=_ink(row),
    )


def _marks(ablation: Mapping[str, Any]) -> list[Line2D]:
    """Entries of the legend, only for what the plot contains."""
    rows = ablation["rows"]
    groups = {bool(row["selected_on_test"]) for row in rows}
    names = {False: "mean UA", True: f"mean UA, {_ON_TEST}"}
    marks = [Line2D([], [], marker="o", ls="", color=_COLOURS[on], label=names[on]) for on in sorted(groups)]
    if any(row["ua_ci95"] is not None for row in rows):
        marks.append(Line2D([], [], color=_COLOURS[min(groups)], lw=1.6, label="95% interval, by speaker"))
    if any(row["ua_std"] is not None for row in rows):
        marks.append(Line2D([], [], color=_PALE, lw=9, solid_capstyle="butt", label="± deviation over seeds"))
    marks.append(Line2D([], [], color=INK, lw=0.8, label=_baseline(ablation)["name"]))
    chance = f"chance ({100 / len(ablation['classes']):.1f}%)"
    return [*marks, Line2D([], [], color=MUTED, lw=1.2, ls=":", label=chance)]


def _colour(row: Mapping[str, Any]) -> str:
    return _COLOURS[bool(row["selected_on_test"])]


def _ink(row: Mapping[str, Any]) -> str:
    return ORANGE if row["selected_on_test"] else INK


def axis_limits(ablation: Mapping[str, Any]) -> tuple[float, float]:
    """Limits of the axis in percent, from below chance to above the best system."""
    values = [1 / len(ablation["classes"])]
    for row in ablation["rows"]:
        spread = row["ua_std"] or 0.0
        values += [row["ua_mean"] - spread, row["ua_mean"] + spread, *(row["ua_ci95"] or [])]
    low, high = 100 * float(np.min(values)), 100 * float(np.max(values))
    margin = 0.04 * max(high - low, 1.0)
    return max(low - margin, -margin), min(high + margin, 100 + margin)


def title_of(ablation: Mapping[str, Any]) -> str:
    """The title, with what restricts the meaning of the scores."""
    remarks = ["features per fold"] if ablation.get("fold_streams") else []
    remarks += ["encoder with random weights"] if ablation["random_weights"] else []
    remarks += ["encoder saw the corpus"] if ablation.get("encoder_saw_corpus") else []
    return "Ablation" + (f" ({'; '.join(remarks)})" if remarks else "")


def conditions_line(ablation: Mapping[str, Any]) -> str:
    """Protocol, features, folds, seeds, and numbers of utterances and speakers of a study."""
    protocol = ablation["protocol"] + (f", {_ON_TEST}" if ablation["selected_on_test"] else "")
    seeds = ", ".join(map(str, ablation["seeds"]))
    return (
        f"Protocol {protocol}; features {ablation['features'][:8]}; folds {ablation['folds_digest'][:8]}; "
        f"seeds {seeds}; {ablation['n']} utterances; {ablation['speakers']} speakers; {ablation['versions']}"
    )


def table_head(ablation: Mapping[str, Any]) -> list[str]:
    """The names of the columns."""
    gain = f"gain over {_baseline(ablation)['name']}"
    return ["system", "UA %", "WA %", "F1 %", "95% interval of UA, by speaker", gain, "p"]


def table_cells(ablation: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """The cells of a row, in the order of `table_head`."""
    name = row["name"] + (f" ({_ON_TEST})" if row["selected_on_test"] else "")
    interval = interval_text(row["ua_ci95"])
    scores = [score_text(row, "ua"), score_text(row, "wa"), f"{100 * row['f1_mean']:.1f}"]
    if row["id"] == ablation["baseline"] or row["gain"] is None:
        return [name, *scores, interval, NONE, NONE]
    gain = gain_text(row["gain"], row["gain_ci95"])
    return [name, *scores, interval, gain, p_text(row["p"])]


def explanation_lines(ablation: Mapping[str, Any]) -> list[str]:
    """What the columns mean."""
    baseline = _baseline(ablation)["name"]
    return [
        "Intervals are 95% intervals of the mean UA over resampled speakers (bootstrap, with Student's t for the "
        "number of speakers); the interval of a gain, in brackets, uses the same speakers for both systems.",
        "The value after ± is the sample standard deviation over seeds; it is omitted for one seed and for "
        "deterministic systems.",
        f"p is the two-sided p value of a paired permutation test by speaker against {baseline}, not corrected for "
        "multiple comparisons.",
        *p_limit(ablation["speakers"]),
    ]


def _baseline(ablation: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(row for row in ablation["rows"] if row["id"] == ablation["baseline"])


def score_text(row: Mapping[str, Any], score: str) -> str:
    """Mean of a row's score in percent, with its deviation over seeds if there is one, as "70.0 ± 1.2"."""
    deviation = row[f"{score}_std"]
    return f"{100 * row[f'{score}_mean']:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")
