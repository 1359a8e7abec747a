"""Plots and tables of a detailed evaluation: calibration, speakers, robustness, retrieval."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .floor import floor_lines
from .formatting import percent, retrieval_sample
from .plots import BLUE, GREEN, INK, MUTED, ORANGE, draw_title, figure, save, wrapped
from .ratings import rating_table
from .results import run_title


def plot_calibration(path: Path, metrics: Mapping[str, Any], *, title: str) -> None:
    """Plot the reliability diagram over all seeds: accuracy by bin of confidence; the diagonal is perfect."""
    bins = metrics["calibration"]["bins"]
    counts, width = bins["counts"], 1 / len(bins["counts"])
    total = max(sum(counts), 1)
    with matplotlib.style.context("default"):
        picture, (axes,) = figure(4.8, 5.0, panels=1)
        axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls="--", label="perfect")
        for position, (accuracy, count) in enumerate(zip(bins["accuracy"], counts, strict=True)):
            if accuracy is None:
                continue
            axes.bar(
                (position + 0.5) * width,
                accuracy,
                width=0.92 * width,
                color=BLUE,
                alpha=0.25 + 0.75 * count / max(counts),
            )
            axes.text(
                (position + 0.5) * width, accuracy + 0.015, f"{count / total:.0%}", ha="center", fontsize=7, color=INK
            )
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.08))
        axes.legend(frameon=False, fontsize=9, loc="upper left")
        axes.set_title(
            f"{wrapped(title, 4.0)}\nECE {percent(metrics['calibration']['ece_mean'])}%  (shares: utterances of a bin)",
            fontsize=10,
            loc="left",
            color=INK,
        )
        _plain(axes)
        save(picture, path)


def plot_overview(path: Path, metrics: Mapping[str, Any], *, title: str) -> None:
    """Plot UA by speaker, and, where available, UA without a modality, and retrieval and matching against chance."""
    panels = 1 + ("robustness" in metrics) + bool(metrics.get("retrieval"))
    with matplotlib.style.context("default"):
        picture, axes = figure(1 + 3.9 * panels, 3.8, panels=panels)
        _speakers(axes[0], metrics)
        if "robustness" in metrics:
            _robustness(axes[1], metrics)
        if metrics.get("retrieval"):
            _retrieval(axes[-1], metrics)
        for panel in axes:
            _plain(panel)
        draw_title(picture, title)
        save(picture, path)


def _speakers(axes: Axes, metrics: Mapping[str, Any]) -> None:
    values = sorted(100 * scores["ua_mean"] for scores in metrics["per_speaker"].values())
    axes.plot(range(1, len(values) + 1), values, "o", color=BLUE, ms=4)
    axes.axhline(100 * metrics["ua_mean"], color=MUTED, lw=1, label="all speakers")
    axes.axhline(100 / len(metrics["classes"]), color=MUTED, lw=1, ls=":", label="chance")
    axes.set(ylim=(0, 104), ylabel="UA (%)", xlabel="speakers, from the worst to the best")
    axes.set_xticks([1, len(values)] if len(values) > 1 else [1])
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def _robustness(axes: Axes, metrics: Mapping[str, Any]) -> None:
    conditions = metrics["robustness"]
    values = [100 * scores["ua_mean"] for scores in conditions.values()]
    errors = [100 * (scores["ua_std"] or 0) for scores in conditions.values()]
    axes.bar(
        range(len(values)), values, yerr=errors, color=[BLUE, *[ORANGE] * (len(values) - 1)], width=0.6, ecolor=INK
    )
    for position, value in enumerate(values):
        axes.text(position, value / 2, f"{value:.1f}", ha="center", va="center", fontsize=9, color="white")
    axes.axhline(100 / len(metrics["classes"]), color=MUTED, lw=1, ls=":")
    axes.set_xticks(range(len(values)), [name.replace(" ", "\n", 1) for name in conditions], fontsize=8)
    axes.set(ylim=(0, 104), ylabel="UA (%)")


def _retrieval(axes: Axes, metrics: Mapping[str, Any]) -> None:
    spaces = list(metrics["retrieval"].items())
    for position, (_, scores) in enumerate(spaces):
        axes.bar(position - 0.18, 100 * scores["map"], width=0.32, color=BLUE, label="mAP" if position == 0 else None)
        axes.bar(position + 0.18, 100 * scores["r1"], width=0.32, color=GREEN, label="R@1" if position == 0 else None)
        label = "chance" if position == 0 else None
        axes.plot([position - 0.4, position + 0.4], [100 * scores["chance"]] * 2, color=INK, lw=1, ls=":", label=label)
    axes.set_xticks(
        range(len(spaces)), [name.replace(": ", "\n").replace(" to ", "\nto ") for name, _ in spaces], fontsize=8
    )
    axes.set(ylim=(0, 104), ylabel="retrieval by emotion (%)")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper right")
    if metrics.get("matching"):
        axes.set_title(f"MEM: AUC {100 * metrics['matching']['auc']:.1f}%", fontsize=9, loc="right", color=MUTED)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e7eb", lw=0.8)
    axes.set_axisbelow(True)


def evaluation_table(metrics: Mapping[str, Any]) -> RenderableType:
    """Table of scores, robustness, retrieval and matching, in percent."""
    caption = f"{metrics['n']} utterances, {metrics['protocol']}, features {metrics['features'][:8]}, "
    caption += f"{len(metrics['seeds'])} seed{'s' * (len(metrics['seeds']) > 1)}"
    ratings: list[RenderableType] = []
    if "ratings" in metrics:
        title = "ratings" if "ua_mean" in metrics else run_title(metrics)
        robustness = metrics["ratings"]["robustness"]
        ratings = [
            rating_table(metrics, title=title, caption=caption),
            Text("mean CCC: " + "   ".join(f"{name} {value:.3f}" for name, value in robustness.items())),
        ]
    if "ua_mean" not in metrics:
        return Group(*ratings, *(Text(f"warning: {warning}") for warning in metrics["warnings"]))
    scores = Table("", "UA", "WA", "F1")
    for column in scores.columns[1:]:
        column.justify = "right"
    rows = metrics.get("robustness") or {"complete": metrics}
    for name, values in rows.items():
        scores.add_row(name, *(percent(values[f"{score}_mean"]) for score in ("ua", "wa", "f1")))
    if metrics["ua_ci95"] is not None:
        intervals = ["-".join(map(percent, metrics[f"{score}_ci95"])) for score in ("ua", "wa")]
        scores.add_row("95% interval by speaker", *intervals, "")
    for name, values in metrics.get("per_scene_kind", {}).items():
        scores.add_row(f"{name}, {values['n']}", *(percent(values[f"{score}_mean"]) for score in ("ua", "wa", "f1")))
    parts: list[RenderableType] = [Text(run_title(metrics), style="italic"), scores, Text(caption)]
    parts += [_line("recall", {k: v["recall"] for k, v in metrics["per_class"].items()})]
    parts.append(Text(f"calibration error (ECE): {percent(metrics['calibration']['ece_mean'])}"))
    if metrics.get("retrieval"):
        table = Table("retrieval by emotion", "mAP", "R@1", "chance")
        for column in table.columns[1:]:
            column.justify = "right"
        for name, values in metrics["retrieval"].items():
            table.add_row(name, *(percent(values[key]) for key in ("map", "r1", "chance")))
        parts.append(table)
        if sample := retrieval_sample(metrics["retrieval"]):
            parts.append(Text(sample))
    if metrics.get("matching"):
        parts.append(_line("matching", {k: v for k, v in metrics["matching"].items() if k != "pairs"}))
        parts.append(Text(_MATCHING))
    parts += map(Text, floor_lines(metrics))
    return Group(*parts, *ratings, *(Text(f"warning: {warning}") for warning in metrics["warnings"]))


_MATCHING = (
    "  (MEM on test utterances: do two inputs show the same emotion? 50 is chance, the score of guessing. auc_own: the "
    "pair of one utterance against pairs of other emotions; auc_other: pairs of two utterances)"
)


def _line(title: str, values: Mapping[str, float]) -> Text:
    return Text(f"{title}: " + "   ".join(f"{name} {percent(value)}" for name, value in values.items()))
