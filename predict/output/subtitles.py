"""Predictions as subtitles in WebVTT."""

from collections.abc import Sequence
from pathlib import Path

from ...shared.files.atomic import replaced_atomically
from ...shared.timing import Seconds
from .clip_files import FilePredictions
from .prediction import Prediction

GAP: Seconds = 0.01
"""Times closer than this are the same."""


def write_subtitles(path: Path, predicted: FilePredictions) -> Path:
    """Write a .vtt file: a cue per window or segment with the class and its probability.

    Overlapping windows become cues that do not overlap: each is shown until the next one begins.
    """
    with replaced_atomically(path) as temporary:
        temporary.write_text(subtitle_text(predicted), encoding="utf-8")
    return path


def subtitle_text(predicted: FilePredictions) -> str:
    """The content of the .vtt file."""
    blocks = ["WEBVTT"]
    for person, ids in predicted.people().items():
        parts = predicted.parts(ids)
        speaker = f"{person}: " if person else ""
        texts = [
            (start, end, f"{speaker}{row.label(predicted.classes)} {row.probability():.0%}")
            for start, end, row in shown_spans(parts)
        ]
        for start, end, text in joined(texts):
            blocks.append(f"{_time(start)} --> {_time(end)}\n{_escaped(text)}")
    return "\n\n".join(blocks) + "\n"


def shown_spans(parts: Sequence[Prediction]) -> list[tuple[Seconds, Seconds, Prediction]]:
    """When each of some parts in the order of their starts is shown, without overlaps.

    A window is shown around its middle, from halfway to the middle of the window before to halfway to that of the next
    one; at both ends of the clip, and where windows are apart, to its own edges.
    """
    spans = []
    for number, row in enumerate(parts):
        start, end = row.start, row.end
        if number and parts[number - 1].end > row.start:
            start = _halfway(parts[number - 1], row)
        if number + 1 < len(parts) and parts[number + 1].start < row.end:
            end = _halfway(row, parts[number + 1])
        spans.append((start, end, row))
    return spans


def joined(spans: Sequence[tuple[Seconds, Seconds, str]]) -> list[tuple[Seconds, Seconds, str]]:
    """Spans of the same text that follow each other without a gap, as one."""
    result: list[tuple[Seconds, Seconds, str]] = []
    for start, end, text in spans:
        if result and result[-1][2] == text and start - result[-1][1] < GAP:
            result[-1] = result[-1][0], end, text
        else:
            result.append((start, end, text))
    return result


def _halfway(first: Prediction, second: Prediction) -> Seconds:
    return (first.start + first.end + second.start + second.end) / 4


def _time(seconds: Seconds) -> str:
    """HH:MM:SS.mmm."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"


def _escaped(text: str) -> str:
    """Text of a cue: WebVTT reads tags and entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
