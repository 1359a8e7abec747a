"""benchmarks/gpu.py: batched extraction against one by one; without a GPU on the CPU."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.slow
def test_both_ways_are_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("gpu")
    assert result["utterances"] == 2
    assert result["batched_speedup"] == pytest.approx(result["utterances_per_s"] / result["one_by_one_per_s"], abs=0.02)
