"""benchmarks/epoch.py: time of a training step against its arithmetic."""

from collections.abc import Callable
from typing import Any

import pytest


def test_time_and_arithmetic_of_a_step_are_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("epoch")
    assert result["steps"] >= 1
    assert result["limit_ms"] == pytest.approx(1e3 * result["gflop"] / result["gemm_gflops"], rel=0.05, abs=2e-3)
    assert result["ratio"] == pytest.approx(result["step_ms"] / result["limit_ms"], rel=0.05)
