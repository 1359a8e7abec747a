"""Labels as people write them: other spellings of the same label, and labels that are no classes."""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from .text import quoted

MAX_NAMED = 5
"""Labels that a message names."""


def canonical(text: str) -> str:
    """The text in Unicode form NFC, without regard to case and spaces: "Sad " and "sad" are the same label."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def common_spellings(labels: Iterable[str]) -> dict[str, str]:
    """Each label that occurs, to the most frequent spelling of that label (the first one in order, among equals)."""
    counts = Counter(labels)
    chosen: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        chosen.setdefault(canonical(label), label)
    # Spaces at the ends are never meant.
    return {label: chosen[canonical(label)].strip() for label in counts}


def spelling_problems(labels: Iterable[str]) -> list[str]:
    """One text for each label with several spellings, with their counts: "'Happy' 34, 'happy' 6"."""
    counts = Counter(label for label in labels if label)
    groups: dict[str, list[str]] = {}
    for label in counts:
        groups.setdefault(canonical(label), []).append(label)
    return [
        ", ".join(f"{quoted(label)} {counts[label]:,}" for label in sorted(group, key=lambda label: -counts[label]))
        for _, group in sorted(groups.items())
        if len(group) > 1
    ]


def label_question(counts: Mapping[str, int]) -> str:
    """Why these labels are probably no classes; "" for ordinary labels.

    Numbers are ratings in most corpora, and a label that hardly any other utterance has is a name or a text.

    Args:
        counts: number of utterances of each label.
    """
    total = sum(counts.values())
    examples = ", ".join(quoted(label) for label in sorted(counts)[:MAX_NAMED])
    if counts and all(map(_is_number, counts)):
        return f"the labels are numbers ({examples}): ratings cannot be learned as classes"
    if len(counts) > 2 and 2 * len(counts) > total:
        return f"{len(counts):,} different labels for {total:,} utterances ({examples}): they do not look like classes"
    return ""


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False
