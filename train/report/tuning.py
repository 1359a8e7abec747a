"""A study of `foal tune` as Markdown, plots, settings file and lines of the terminal, from the content of tune.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.lines import Line2D
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .floor import floor_lines
from .formatting import gain_text, interval_text, p_limit, p_text, percent, table_row
from .plots import BLUE, MUTED, ORANGE, draw_title, figure, save

_PALE = "#cbd2d9"


def write_markdown(path: Path, tuning: Mapping[str, Any]) -> None:
    """Write tune.md: verdict, conditions, test scores, chosen trials, best setting, all trials, and an explanation."""
    sections: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = [
        ("Test groups", *test_table(tuning)),
        ("Chosen trials", *fold_table(tuning)),
        ("Best setting", *best_table(tuning)),
        ("Trials, best first", *trial_table(tuning)),
    ]
    lines = [f"# {title_of(tuning)}", "", verdict_line(tuning), "", conditions_line(tuning), ""]
    notes = [*floor_lines(tuning), *tuning["warnings"]]
    lines += [*(f"- {note}" for note in notes), ""] if notes else []
    for title, head, rows in sections:
        lines += [f"## {title}", "", table_row(head), table_row(["---"] * len(head)), *map(table_row, rows), ""]
        if title == "Best setting":
            lines += [best_note(tuning), ""]
    lines += ["![trials](trials.png)", "", "![importance of the parameters](importance.png)", ""]
    path.write_text("\n".join([*lines, *explanation_lines(tuning), ""]), encoding="utf-8")


def tuning_table(tuning: Mapping[str, Any]) -> RenderableType:
    """Verdict, chosen trial of each fold, best setting and warnings for the terminal."""
    head, rows = fold_table(tuning)
    table = Table(title=title_of(tuning), caption=conditions_line(tuning), title_justify="left", caption_justify="left")
    for column in head:
        table.add_column(Text(column), justify="right" if "%" in column or "trial" in column else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    best = tuning["trials"][tuning["best"]["trial"]]
    return Group(
        Text(verdict_line(tuning), style="bold"),
        table,
        Text(f"best setting on average: trial {best['trial']}, {_parameters_text(best['parameters'])}"),
        *map(Text, floor_lines(tuning)),
        *(Text(f"warning: {warning}") for warning in tuning["warnings"]),
    )


def verdict_line(tuning: Mapping[str, Any]) -> str:
    """Test UA with tuned and with current settings, and the gain with interval and p."""
    return (
        f"Test UA with tuned settings {_ua(tuning['tuned'])}, with the current settings {_ua(tuning['current'])}; gain "
        f"{gain_text(tuning['gain'], tuning['gain_ci95'])}, p {p_text(tuning['p'])}"
    )


def write_best(path: Path, tuning: Mapping[str, Any]) -> None:
    """Write best.yaml: the searched keys of the trial with the best mean development UA, as a settings file."""
    best = tuning["trials"][tuning["best"]["trial"]]
    lines = [
        f"# Best of {len(tuning['trials'])} trials of `foal tune`: trial {best['trial']}, mean development UA "
        f"{100 * best['dev_ua_mean']:.1f}%; features {tuning['features'][:8]}, {tuning['protocol']}.",
        "train:",
    ]
    for key, value in best["parameters"].items():
        listed = value.split("+") if isinstance(tuning["settings"][key], list) else value
        lines.append(f"  {key}: {json.dumps(listed)}")
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def plot_importance(path: Path, tuning: Mapping[str, Any]) -> None:
    """Plot the importance of each searched key as bars, largest first."""
    names, shares = list(tuning["importance"]), [100 * share for share in tuning["importance"].values()]
    with matplotlib.style.context("default"):
        picture, (axes,) = figure(7, 1.3 + 0.3 * len(names), panels=1)
        axes.barh(range(len(names)), shares, height=0.6, color=BLUE)
        for position, share in enumerate(shares):
            axes.annotate(
                f"{share:.0f}%", (share, position), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9
            )
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.set(
            xlabel="share of the variance of the development UA (%)",
            ylim=(len(names) - 0.4, -0.6),
            xlim=(0, 1.12 * max(*shares, 1.0)),
        )
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#eef0f3", lw=0.8)
        axes.set_axisbelow(True)
        title = f"Importance of the parameters (fANOVA): {len(tuning['trials'])} trials"
        draw_title(picture, title, size=11)
        save(picture, path)


def plot_trials(path: Path, tuning: Mapping[str, Any]) -> None:
    """Plot the development UA of each trial, best first: mean and range over folds; the current settings are marked."""
    rows = _ranked(tuning)
    chosen = {fold["trial"] for fold in tuning["folds"]}
    with matplotlib.style.context("default"):
        picture, (axes,) = figure(9, 4, panels=1)
        for rank, row in enumerate(rows, start=1):
            ends = [100 * min(row["dev_ua"]), 100 * max(row["dev_ua"])]
            colour = ORANGE if row["current"] else BLUE
            axes.plot([rank, rank], ends, color=_PALE, lw=3, solid_capstyle="butt", zorder=2)
            filled = colour if row["trial"] in chosen or row["current"] else "white"
            axes.plot(rank, 100 * row["dev_ua_mean"], "o", color=colour, mfc=filled, ms=6, zorder=4)
        current = 100 * tuning["trials"][0]["dev_ua_mean"]
        axes.axhline(current, color=ORANGE, lw=0.8, zorder=1)
        axes.axhline(100 / len(tuning["classes"]), color=MUTED, lw=1.2, ls=":", zorder=1)
        axes.set(xlabel="trials, best first", ylabel="development UA (%)", xlim=(0.2, len(rows) + 0.8))
        if len(rows) <= 40:
            axes.set_xticks(range(1, len(rows) + 1), [str(row["trial"]) for row in rows], fontsize=8)
            axes.set_xlabel("trial, best first")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e4e7eb", lw=0.8)
        axes.set_axisbelow(True)
        draw_title(picture, f"{title_of(tuning)}: {tuning['n']} utterances, {tuning['protocol']}", size=11)
        picture.legend(
            handles=_marks(tuning, rows, chosen), loc="outside lower center", ncols=3, frameon=False, fontsize=8
        )
        save(picture, path)


def _marks(tuning: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], chosen: set[int]) -> list[Line2D]:
    """Entries of the legend, only for what the plot contains."""
    marks = [Line2D([], [], marker="o", color=ORANGE, lw=0.8, label="current settings")]
    if any(row["trial"] in chosen and not row["current"] for row in rows):
        marks.append(Line2D([], [], marker="o", ls="", color=BLUE, label="chosen for a fold"))
    if any(row["trial"] not in chosen and not row["current"] for row in rows):
        marks.append(Line2D([], [], marker="o", ls="", color=BLUE, mfc="white", label="not chosen"))
    if len(tuning["folds"]) > 1:
        marks.append(Line2D([], [], color=_PALE, lw=3, label="range over folds"))
    chance = f"chance ({100 / len(tuning['classes']):.1f}%)"
    return [*marks, Line2D([], [], color=MUTED, lw=1.2, ls=":", label=chance)]


def _ranked(tuning: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(tuning["trials"], key=lambda row: (-row["dev_ua_mean"], row["trial"]))


def test_table(tuning: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: test scores with current and with tuned settings."""
    rows = [
        [
            name,
            percent(tuning[key]["ua_mean"]),
            interval_text(tuning[key]["ua_ci95"]),
            percent(tuning[key]["wa_mean"]),
            interval_text(tuning[key]["wa_ci95"]),
            percent(tuning[key]["f1_mean"]),
        ]
        for key, name in (("current", "current"), ("tuned", "tuned, nested"))
    ]
    return ["settings", "UA %", "95% interval", "WA %", "95% interval", "F1 %"], rows


def fold_table(tuning: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the chosen trial of each fold."""
    rows = []
    for fold in tuning["folds"]:
        scores = [percent(fold["dev_ua"]), percent(fold["current_dev_ua"])]
        rows.append([fold["test"], fold["dev"], str(fold["trial"]), *scores])
    return ["test", "development", "chosen trial", "development UA %", "current settings %"], rows


def best_table(tuning: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the best setting beside the current one."""
    current, best = tuning["trials"][0], tuning["trials"][tuning["best"]["trial"]]
    rows = [["mean development UA %", percent(current["dev_ua_mean"]), percent(best["dev_ua_mean"])]]
    rows += [[key, _value(current["parameters"][key]), _value(value)] for key, value in best["parameters"].items()]
    return ["", "current", f"best (trial {best['trial']})"], rows


def trial_table(tuning: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: all trials, best first."""
    keys = list(tuning["trials"][0]["parameters"])
    rows = [
        [
            str(row["trial"]) + (" (current)" if row["current"] else ""),
            percent(row["dev_ua_mean"]),
            *(_value(row["parameters"][key]) for key in keys),
        ]
        for row in _ranked(tuning)
    ]
    return ["trial", "mean development UA %", *keys], rows


def best_note(tuning: Mapping[str, Any]) -> str:
    """What the score of the best setting is worth."""
    if len(tuning["folds"]) == 1:
        return "best.yaml contains this setting."
    return (
        "best.yaml contains this setting. Its score on this corpus would not be nested: the development groups that "
        "chose it are test groups of other folds. The nested result is that of the tuned settings above."
    )


def explanation_lines(tuning: Mapping[str, Any]) -> list[str]:
    """What the scores and intervals mean."""
    settings = tuning["settings"]
    lines = [
        "Each trial is fitted on the training group of each fold and scored on its development group. Tuned settings: "
        "on each fold those of the trial with the best development UA of that fold, fitted as `foal train` does, and "
        "scored once on the test group.",
    ]
    if settings["select"] != "last":
        lines.append(
            f"The epoch is selected on the development group, too (select: {settings['select']}), so the development "
            "UA is optimistic; the test UA is not affected. With select: last the development UA is unbiased but for "
            "the choice among the trials."
        )
    lines += [
        "Intervals are 95% intervals over resampled speakers (bootstrap), widened for the number of speakers; p is the "
        "two-sided p value of a paired permutation test by speaker.",
        "Importance is the share of a parameter in the variance of the mean development UA over the search space "
        "(fANOVA); it needs some dozens of trials.",
        *p_limit(tuning["speakers"]),
    ]
    return lines


def title_of(tuning: Mapping[str, Any]) -> str:
    """The title, with the number of trials."""
    remark = " (encoder with random weights)" if tuning["random_weights"] else ""
    return f"Tuning, {len(tuning['trials'])} trials{remark}"


def conditions_line(tuning: Mapping[str, Any]) -> str:
    """Protocol, features, folds, seeds, and numbers of utterances and speakers."""
    seeds = ", ".join(map(str, tuning["seeds"]))
    return (
        f"Protocol {tuning['protocol']}; features {tuning['features'][:8]}; folds {tuning['folds_digest'][:8]}; "
        f"seeds {seeds}; {tuning['n']} utterances; {tuning['speakers']} speakers; {tuning['versions']}"
    )


def _parameters_text(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in parameters.items())


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _ua(scores: Mapping[str, Any]) -> str:
    interval = "" if scores["ua_ci95"] is None else f" ({interval_text(scores['ua_ci95'])})"
    return f"{percent(scores['ua_mean'])}{interval}"
