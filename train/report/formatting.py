"""Numbers and table rows of reports as text."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...shared.text import counted

NONE = "-"
"""Cell of a number that does not exist."""


def percent(share: float) -> str:
    """Format 0.5 as "50.0"."""
    return f"{100 * share:.1f}"


def interval_text(ends: Sequence[float] | None) -> str:
    """Format an interval of shares in percent, as "59.1 to 63.0"; None as "-"."""
    return NONE if ends is None else " to ".join(f"{100 * end:.1f}" for end in ends)


def gain_text(gain: float, ends: Sequence[float] | None) -> str:
    """Format a difference of shares in percent with its interval, as "+1.2 (-0.3 to +2.6)"."""
    return signed(gain) + ("" if ends is None else " ({} to {})".format(*map(signed, ends)))


def signed(difference: float) -> str:
    """Format a difference of shares in percent, as "+1.2"."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"  # no -0.0


def p_text(p: float | None) -> str:
    """Format a p value; None as "-"."""
    return NONE if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def p_limit(speakers: int) -> list[str]:
    """A note if so few speakers allow no small p value: both signs of one of 2**speakers permutations."""
    lowest = 2 / 2**speakers
    return [f"With {speakers} speakers p cannot be below {lowest:.3g}."] if lowest > 0.05 else []


def setting_text(value: Any) -> str:
    """A JSON value as in params.yaml: a list as "audio, face", no value as "none"."""
    if isinstance(value, list):
        return ", ".join(map(setting_text, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def table_row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def final_lines(metrics: Mapping[str, Any]) -> list[str]:
    """A line about the final model of a run, if it has one."""
    if not (final := metrics.get("final")):
        return []
    trained = f"{counted(final['n'], 'utterance')} for {counted(final['epochs'], 'epoch')}"
    return [f"final model: trained on all {trained} (the median of the folds); no score belongs to it"]


def listed(inputs: Sequence[str]) -> str:
    """The inputs in words: "audio", "audio and face", "audio, face and text"."""
    *first, last = inputs
    return f"{', '.join(first)} and {last}" if first else last


def modalities_word(inputs: Sequence[str]) -> str:
    """The inputs as one word of metrics.json: `both` for audio and face, else joined by plus signs."""
    return "both" if list(inputs) == ["audio", "face"] else "+".join(inputs)


def modalities_title(modalities: str) -> str:
    """The result of `modalities_word` as a title: "audio and face"."""
    return listed(["audio", "face"] if modalities == "both" else modalities.split("+"))


def retrieval_sample(spaces: Mapping[str, Mapping[str, Any]]) -> str:
    """How many queries the retrieval scores are means of; empty if no group had more than it ranks."""
    queries, available = (max(scores.get(key, 0) for scores in spaces.values()) for key in ("queries", "available"))
    if queries == available:
        return ""
    return f"retrieval: {queries:,} of {available:,} queries, a random sample of each group"
