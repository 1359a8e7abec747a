"""An evaluation on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .files import percent, title_of


def table_of(metrics: Mapping[str, Any]) -> RenderableType:
    """Scores, what remains without a modality, and what alignment and matching have learned, in percent."""
    caption = f"{metrics['n']} utterances, {metrics['protocol']}, features {metrics['features'][:8]}, "
    caption += f"{len(metrics['seeds'])} seed{'s' * (len(metrics['seeds']) > 1)}"
    scores = Table("", "UA", "WA", "F1", title=title_of(metrics), caption=caption)
    scores.title_justify = scores.caption_justify = "left"
    for column in scores.columns[1:]:
        column.justify = "right"
    rows = metrics.get("robustness") or {"all there": metrics}
    for name, values in rows.items():
        scores.add_row(name, *(percent(values[f"{score}_mean"]) for score in ("ua", "wa", "f1")))
    if metrics["ua_ci95"] is not None:
        intervals = ["-".join(map(percent, metrics[f"{score}_ci95"])) for score in ("ua", "wa")]
        scores.add_row("95% interval by speaker", *intervals, "")
    parts: list[RenderableType] = [scores, _line("recall", {k: v["recall"] for k, v in metrics["per_class"].items()})]
    parts.append(Text(f"calibration error (ECE): {percent(metrics['calibration']['ece_mean'])}"))
    if metrics.get("retrieval"):
        table = Table("retrieval by emotion", "mAP", "R@1", "chance")
        for column in table.columns[1:]:
            column.justify = "right"
        for name, values in metrics["retrieval"].items():
            table.add_row(name, *(percent(values[key]) for key in ("map", "r1", "chance")))
        parts.append(table)
    if metrics.get("matching"):
        parts.append(_line("matching", {k: v for k, v in metrics["matching"].items() if k != "pairs"}))
    return Group(*parts, *(Text(f"note: {note}") for note in metrics["notes"]))


def _line(what: str, values: Mapping[str, float]) -> Text:
    return Text(f"{what}: " + "   ".join(f"{name} {percent(value)}" for name, value in values.items()))
