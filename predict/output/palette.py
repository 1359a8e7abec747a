"""Colours of classes, distinguishable with colour-blindness (Okabe and Ito 2008)."""

from collections.abc import Sequence

INK, MUTED = "#1f2933", "#9aa5b1"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#5c3a92", "#4d4d4d")
MORE = ("#7f0000", "#00441b", "#b15928", "#6a51a3", "#008080", "#969696")


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """A colour per class; beyond 14 classes they repeat."""
    every = COLOURS + MORE
    return {name: every[number % len(every)] for number, name in enumerate(classes)}
