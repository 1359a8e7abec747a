"""benchmarks/heads.py: the cost of every fusion head."""

from collections.abc import Callable
from typing import Any

from foal.train.model.fusion.registry import FUSION_HEADS


def test_every_head_is_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    heads = run_benchmark("heads")["heads"]
    assert list(heads) == list(FUSION_HEADS)
    assert all(cost["ms"] > 0 for cost in heads.values())
    assert heads["cross-attention"]["ratio"] == 1
    assert heads["concat"]["parameters"] == 0 < heads["cross-attention"]["parameters"]
