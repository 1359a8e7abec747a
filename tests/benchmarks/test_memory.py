"""benchmarks/memory.py: the peak memory of a worker with few and with many utterances."""

from collections.abc import Callable
from typing import Any

import pytest


def test_the_peak_memory_of_both_runs_is_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("memory")
    assert result["few"] < result["many"]
    # A worker loads PyTorch and its encoders.
    assert result["few_peak_mb"] > 300
    assert result["growth"] == pytest.approx(result["many_peak_mb"] / result["few_peak_mb"], abs=0.01)
