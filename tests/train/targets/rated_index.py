"""Utterances whose ratings and soft labels can be predicted from their features."""

from collections.abc import Sequence
from dataclasses import replace

from foal.shared.utterance import Utterance


def rated(utterances: Sequence[Utterance], *, unlabelled: bool = False) -> list[Utterance]:
    """Give utterances ratings; number 0 has no arousal, number 1 none at all."""
    return [
        replace(
            utterance,
            label="" if unlabelled else utterance.label,
            valence=None if number == 1 else 1.0 + number % 5,
            arousal=None if number < 2 else 5.0 - number % 4,
        )
        for number, utterance in enumerate(utterances)
    ]


def voted(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Give utterances votes of four raters; number 0 has none, number 1 has votes but no label."""
    return [
        replace(
            utterance,
            label="" if number == 1 else utterance.label,
            shares=() if number == 0 else (("hap", 3.0 - 2 * (number % 2)), ("sad", 1.0 + 2 * (number % 2))),
        )
        for number, utterance in enumerate(utterances)
    ]
