"""Charts of a report as inline SVG, about 360 units wide, so that their text is legible on a narrow screen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ...train.report.formatting import percent
from .sources import Row
from .svg import cut, element, line, picture, polyline, text

WIDTH = 360.0
LOSSES = {
    "loss_classes": "classes",
    "loss_avel": "AVEL",
    "loss_mem": "MEM",
    "loss_ratings": "1 - CCC",
    "loss_fusion": "fusion head",
}
"""Columns of history.csv and their names."""

_PLOT = (40.0, 12.0, 350.0, 220.0)  # left, top, right, bottom


def confusion_chart(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> Markup:
    """The confusion matrix: share of each true class, and counts below; true classes are rows."""
    counts = np.asarray(confusion, np.int64)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    left = 14.0 + 7.0 * max(4, *(min(len(name), 10) for name in classes))
    side = max(52.0, (WIDTH - left) / len(classes))
    parts = [text(left + side * len(classes) / 2, 12, "predicted", anchor="middle", class_="axis")]
    parts.append(text(0, 12, "true", class_="axis"))
    for column, name in enumerate(classes):
        parts.append(text(left + side * (column + 0.5), 30, cut(name, 8), anchor="middle"))
    height = min(side, 60.0)
    for row, name in enumerate(classes):
        top = 38 + height * row
        parts.append(text(left - 8, top + height / 2 + 4, cut(name, 10), anchor="end"))
        for column in range(len(classes)):
            share, x = float(shares[row, column]), left + side * column
            parts.append(element("rect", x=x, y=top, width=side, height=height, class_="ground"))
            parts.append(
                element("rect", x=x, y=top, width=side, height=height, class_="cell", fill_opacity=_depth(share))
            )
            shade = "deep" if share > 0.5 else "pale"
            middle = x + side / 2
            parts.append(text(middle, top + height / 2, percent(share), anchor="middle", class_=f"value {shade}"))
            count = int(counts[row, column])
            parts.append(text(middle, top + height / 2 + 15, count, anchor="middle", class_=f"small {shade}"))
    label = "Confusion matrix. " + "; ".join(
        f"{name}: {', '.join(f'{percent(share)}% {classes[at]}' for at, share in enumerate(shares[row]))}"
        for row, name in enumerate(classes)
    )
    width = left + side * len(classes)
    return picture(
        width, 40 + height * len(classes), parts, label=label, class_="chart wide" if width > 420 else "chart"
    )


def reliability_chart(bins: Mapping[str, Sequence[Any]]) -> Markup:
    """Accuracy by bin of confidence, with the share of utterances of each bin below; the diagonal is perfect."""
    counts, total = bins["counts"], max(sum(bins["counts"]), 1)
    left, top, right, bottom = _PLOT
    step = (right - left) / len(counts)
    parts = [*_percent_axis(0, 100), line(left, bottom, right, top, "reference")]
    for at, (accuracy, count) in enumerate(zip(bins["accuracy"], counts, strict=True)):
        x = left + step * at
        if accuracy is not None:
            height = (bottom - top) * accuracy
            bar = {"x": x + 1, "y": bottom - height, "width": step - 2, "height": max(height, 1.5)}
            parts.append(element("rect", class_="bar", **bar))
        share = 34 * count / max(*counts, 1)
        parts.append(element("rect", x=x + 1, y=bottom + 20, width=step - 2, height=share, class_="count"))
    parts += _ticks([(left + (right - left) * share, f"{100 * share:.0f}") for share in (0, 0.25, 0.5, 0.75, 1)])
    parts.append(text(right, bottom + 68, "confidence (%); below: share of utterances", anchor="end", class_="axis"))
    label = "Reliability diagram. " + "; ".join(
        f"confidence {percent(at / len(counts))} to {percent((at + 1) / len(counts))}%: accuracy {percent(accuracy)}%, "
        f"{percent(counts[at] / total)}% of the utterances"
        for at, accuracy in enumerate(bins["accuracy"])
        if accuracy is not None
    )
    return picture(WIDTH, bottom + 72, parts, label=label)


def loss_chart(history: Sequence[Row]) -> tuple[Markup, list[tuple[str, str]]]:
    """Training losses of all fits, one line per fit and loss; and the legend as pairs of class and name."""
    shown = {key: name for key, name in LOSSES.items() if any(_value(row, key) for row in history)}
    values = [_value(row, key) or 0.0 for row in history for key in shown]
    high, last = _nice(max(values, default=1.0)), max(int(row["epoch"]) for row in history)
    parts, legend = _value_axis(high), []
    for number, (key, name) in enumerate(shown.items()):
        legend.append((f"s{number}", name))
        for rows in _fits(history).values():
            points = [_point(int(row["epoch"]), last, (_value(row, key) or 0.0) / high) for row in rows]
            parts.append(polyline(points, f"curve s{number}"))
    parts += _epochs(last)
    return picture(WIDTH, 252, parts, label=f"Training loss of {len(_fits(history))} fits by epoch"), legend


def development_chart(history: Sequence[Row]) -> Markup | None:
    """Development UA in percent by epoch, one line per fit; None where no epoch was scored."""
    if not any(_value(row, "dev_ua") is not None for row in history):
        return None
    last = max(int(row["epoch"]) for row in history)
    parts = list(_percent_axis(0, 100))
    for rows in _fits(history).values():
        scored = [row for row in rows if _value(row, "dev_ua") is not None]
        parts.append(
            polyline([_point(int(row["epoch"]), last, _value(row, "dev_ua") or 0.0) for row in scored], "curve s0")
        )
    parts += _epochs(last)
    return picture(WIDTH, 252, parts, label=f"Development UA of {len(_fits(history))} fits by epoch")


def bar_chart(
    rows: Sequence[tuple[str, float, float | None]], *, label: str, marks: Mapping[str, float] | None = None
) -> Markup:
    """Horizontal bars of shares with their percent, each below its name; marks are shares drawn as dotted lines."""
    right = WIDTH - 46
    parts: list[Markup] = []
    for at, (name, share, deviation) in enumerate(rows):
        y = 38.0 * at
        parts.append(text(0, y + 12, cut(name, 46)))
        parts.append(element("rect", x=0, y=y + 17, width=right, height=13, class_="ground"))
        parts.append(element("rect", x=0, y=y + 17, width=max(right * share, 1.0), height=13, class_="bar"))
        if deviation:
            ends = [right * min(max(share + sign * deviation, 0), 1) for sign in (-1, 1)]
            parts.append(line(ends[0], y + 23.5, ends[1], y + 23.5, "spread"))
        parts.append(text(WIDTH, y + 28, percent(share), anchor="end", class_="value"))
    height = 38.0 * len(rows)
    for name, share in (marks or {}).items():
        for at in range(len(rows)):
            parts.append(line(right * share, 38.0 * at + 15, right * share, 38.0 * at + 32, "reference"))
        parts.append(text(right * share + 4, height + 10, f"{name} {percent(share)}", class_="small"))
    spoken = "; ".join(f"{name} {percent(share)}%" for name, share, _ in rows)
    return picture(WIDTH, height + (14 if marks else 0), parts, label=f"{label}: {spoken}")


def strip_chart(value: float, ends: Sequence[float] | None, limits: tuple[float, float], mark: float) -> Markup:
    """A dot with its interval for a cell of a table.

    Args:
        value: the dot, as the other numbers in any one unit.
        ends: the interval; None without one.
        limits: left and right end of the axis.
        mark: a reference, drawn as a thin line.
    """
    low, high = limits

    def x(number: float) -> float:
        return 4 + 112 * (min(max(number, low), high) - low) / max(high - low, 1e-9)

    parts = [line(4, 9, 116, 9, "grid"), line(x(mark), 1, x(mark), 17, "reference")]
    if ends is not None:
        parts.append(line(x(ends[0]), 9, x(ends[1]), 9, "interval"))
    parts.append(element("circle", cx=x(value), cy=9, r=4, class_="dot"))
    return element("svg", *parts, viewBox="0 0 120 18", width=120, height=18, class_="strip", aria_hidden="true")


def wave_chart(extremes: Sequence[tuple[float, float]]) -> Markup:
    """A waveform from pairs of minimum and maximum (full scale 1), scaled to its peak."""
    peak = max((max(abs(low), abs(high)) for low, high in extremes), default=0.0) or 1.0
    points = " ".join(
        f"M{at + 0.5:g} {20 - 18 * high / peak:.1f}V{20 - 18 * low / peak + 0.5:.1f}"
        for at, (low, high) in enumerate(extremes)
    )
    path = element("path", d=points, class_="wave")
    return picture(len(extremes), 40, [path], label="Waveform", class_="waveform", stretch=True)


def _depth(share: float) -> float:
    """Opacity of a cell: a step at one half, so that the text on both sides of it has enough contrast."""
    return 0.9 * share if share <= 0.5 else 0.7 + 0.6 * (share - 0.5)


def _percent_axis(low: float, high: float) -> list[Markup]:
    left, top, right, bottom = _PLOT
    parts = []
    for value in range(int(low), int(high) + 1, 25):
        y = bottom - (bottom - top) * (value - low) / (high - low)
        parts += [line(left, y, right, y, "grid"), text(left - 6, y + 4, value, anchor="end", class_="tick")]
    return parts


def _value_axis(high: float) -> list[Markup]:
    left, top, right, bottom = _PLOT
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - (bottom - top) * share
        parts += [
            line(left, y, right, y, "grid"),
            text(left - 6, y + 4, f"{high * share:g}", anchor="end", class_="tick"),
        ]
    return parts


def _epochs(last: int) -> list[Markup]:
    marks = sorted({1, *(round(1 + (last - 1) * share) for share in (0.25, 0.5, 0.75)), last})
    left, _, right, bottom = _PLOT
    title = text((left + right) / 2, bottom + 31, "epoch", anchor="middle", class_="axis")
    return [*_ticks([(_point(mark, last, 0)[0], str(mark)) for mark in marks]), title]


def _ticks(marks: Sequence[tuple[float, str]]) -> list[Markup]:
    return [text(x, _PLOT[3] + 15, name, anchor="middle", class_="tick") for x, name in marks]


def _point(epoch: int, last: int, share: float) -> tuple[float, float]:
    left, top, right, bottom = _PLOT
    return left + (right - left) * (epoch - 1) / max(last - 1, 1), bottom - (bottom - top) * share


def _fits(history: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    fits: dict[tuple[str, str], list[Row]] = {}
    for row in history:
        fits.setdefault((row["seed"], row["fold"]), []).append(row)
    return fits


def _value(row: Row, key: str) -> float | None:
    return float(row[key]) if row.get(key) else None


def _nice(value: float) -> float:
    """The next of 1, 2, 4, 8 times a power of ten, whose quarters have few digits."""
    if value <= 0:
        return 1.0
    base = 10.0 ** math.floor(math.log10(value))
    return next(base * step for step in (1, 2, 4, 8, 10) if base * step >= value * 0.999)
