"""Ratings in reports: the table of CCC and MAE, and the study of ratings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .formatting import NONE, table_row


def rating_table(metrics: Mapping[str, Any], *, title: str = "ratings", caption: str | None = None) -> Table:
    """CCC and MAE of each dimension per test group (mean over seeds) and over all folds, with interval and deviation.

    Args:
        metrics: content of metrics.json of a run with ratings.
        title: title of the table.
        caption: line under the table.
    """
    ratings, names = metrics["ratings"], list(metrics["ratings"]["dimensions"])
    several = len(names) > 1  # then their mean has a column
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for column in ("test", "development", *(f"{score} {name}" for name in names for score in ("CCC", "MAE"))):
        table.add_column(column, justify="left" if column in ("test", "development") else "right")
    if several:
        table.add_column("mean CCC", justify="right")
    fits = metrics.get("folds", [])  # an evaluation has none
    for test in dict.fromkeys(fold["test"] for fold in fits):
        folds = [fold for fold in fits if fold["test"] == test]
        cells = [
            _average([fold["ratings"][name][score] for fold in folds]) for name in names for score in ("ccc", "mae")
        ]
        table.add_row(test, folds[0]["dev"], *cells, *([""] if several else []))
    table.add_section()
    dimensions = ratings["dimensions"].values()

    def row(suffix: str) -> list[str]:
        scores = [part[f"{score}_{suffix}"] for part in dimensions for score in ("ccc", "mae")]
        return [rating_text(value) for value in (*scores, *([ratings[f"ccc_{suffix}"]] if several else []))]

    table.add_row("all folds" if fits else "all", "", *row("mean"), style="bold")
    if ratings["ccc_ci95"] is not None:
        table.add_row("95% interval", "by speaker", *row("ci95"))
    if len(metrics["seeds"]) > 1:
        table.add_row("deviation", "over seeds", *row("std"))
    return table


def _average(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return rating_text(float(np.mean(known)) if known else None)


def rating_text(value: float | Sequence[float] | None) -> str:
    """A score with three decimals, an interval as "0.41 to 0.62"; None as "-"."""
    if value is None:
        return NONE
    if isinstance(value, Sequence):
        return " to ".join(f"{end:.2f}" for end in value)
    return f"{value:.3f}"


def write_rating_markdown(path: Path, ablation: Mapping[str, Any]) -> None:
    """Write ablation.md of a study of ratings: conditions, table, warnings."""
    head = ablation_head(ablation)
    lines = [
        f"# Ratings: {', '.join(ablation['target'])}",
        "",
        rating_verdict(ablation),
        "",
        ablation_conditions(ablation),
        "",
        table_row(head),
        table_row(["---", *["---:"] * (len(head) - 1)]),
        *(table_row(ablation_cells(row)) for row in ablation["rows"]),
        "",
        *(f"- {warning}" for warning in ablation["warnings"]),
        "",
        "CCC and MAE over all folds, mean over seeds, with 95% intervals from resampled speakers.",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def rating_ablation_table(ablation: Mapping[str, Any]) -> RenderableType:
    """The table of a study of ratings and its warnings for the terminal."""
    title = f"ratings: {', '.join(ablation['target'])}"
    table = Table(title=title, caption=ablation_conditions(ablation), title_justify="left", caption_justify="left")
    for number, column in enumerate(ablation_head(ablation)):
        table.add_column(column, justify="right" if number else "left")
    for row in ablation["rows"]:
        table.add_row(*map(Text, ablation_cells(row)))
    warnings = (Text(f"warning: {warning}") for warning in ablation["warnings"])
    return Group(Text(rating_verdict(ablation), style="bold"), table, *warnings)


def rating_verdict(ablation: Mapping[str, Any]) -> str:
    """The network compared with the best ridge regression."""
    verdict, rows = ablation["verdict"], {row["id"]: row for row in ablation["rows"]}
    system, best, ends = rows[verdict["system"]], rows[verdict["baseline"]], verdict["gain_ci95"]
    interval = "" if ends is None else f" ({ends[0]:+.3f} to {ends[1]:+.3f})"
    return (
        f"{system['name']}: CCC {system['ccc_mean']:.3f}; best baseline ({best['name']}): {best['ccc_mean']:.3f}; "
        f"difference {verdict['gain']:+.3f}{interval}"
    )


def ablation_conditions(ablation: Mapping[str, Any]) -> str:
    """Utterances, speakers, protocol, features and seeds of a study of ratings."""
    return (
        f"{ablation['n']} utterances of {ablation['speakers']} speakers, {ablation['protocol']}, features "
        f"{ablation['features'][:8]}, seeds {', '.join(map(str, ablation['seeds']))}"
    )


def ablation_head(ablation: Mapping[str, Any]) -> list[str]:
    """The names of the columns of a study of ratings."""
    names = list(ablation["rows"][0]["dimensions"])
    return ["system", "seeds", *(f"{score} {name}" for name in names for score in ("CCC", "MAE")), "mean CCC"]


def ablation_cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of a row, in the order of `ablation_head`."""
    cells = [row["name"], str(row["seeds"])]
    for scores in (*row["dimensions"].values(), row):
        for score in ("ccc", "mae") if scores is not row else ("ccc",):
            ends = scores[f"{score}_ci95"]
            cells.append(f"{scores[f'{score}_mean']:.3f}" + ("" if ends is None else f" ({rating_text(ends)})"))
    return cells
