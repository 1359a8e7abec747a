"""The lines under a result that say what is predictable without any media, or from labels."""

from collections.abc import Mapping
from typing import Any

from ..floor.positions import KINDS
from .formatting import percent

LEARNED_SHARE = 0.95
"""Share of its chance level below which a loss counts as learned."""

_NAMES = {"scenario": "scene", "role": "scene + role", "time": "scene + role + time"}


def floor_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The script floor of the same protocol, and the inertia of labels, as far as a result has them."""
    return [*_script_lines(metrics.get("script_floor")), *_inertia_lines(metrics.get("label_inertia"))]


def mem_lines(metrics: Mapping[str, Any]) -> list[str]:
    """What the training loss of MEM means, if the run has one."""
    if (training := metrics.get("mem_training")) is None:
        return []
    loss, chance = training["loss"], training["chance"]
    learned = loss < LEARNED_SHARE * chance
    verdict = "it learned to match" if learned else "it has not learned to match"
    return [
        f"MEM (do two inputs show the same emotion?): training loss {loss:.3f}; a head that ignores its inputs has "
        f"{chance:.3f} (chance): {verdict}"
    ]


def _script_lines(floor: Mapping[str, Any] | None) -> list[str]:
    if not floor:
        return []
    if not floor["levels"]:
        return [f"script floor: {floor['note']}"]
    level = list(floor["levels"])[-1]
    scores = floor["levels"][level]
    line = f"script floor ({_NAMES[level]} of training utterances, no media): UA {percent(scores['ua'])}, "
    line += f"WA {percent(scores['wa'])}, F1 {percent(scores['f1'])}"
    kinds = [f"{kind} WA {percent(scores[kind]['wa'])}" for kind in KINDS.values() if kind in scores]
    if floor["covered"] == 0:
        kinds = ["no scene of a test group is in its training set"]
    return [line + (f" ({', '.join(kinds)})" if kinds else "")]


def _inertia_lines(inertia: Mapping[str, Any] | None) -> list[str]:
    if not inertia:
        return []
    return [
        f"label inertia (diagnostic, reads labels): a speaker's label is that of the previous turn in "
        f"{percent(inertia['agreement'])}% of {inertia['pairs']} pairs"
    ]
