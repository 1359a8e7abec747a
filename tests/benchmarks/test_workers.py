"""benchmarks/workers.py: two workers compared with one."""

from collections.abc import Callable
from typing import Any

import pytest


def test_both_runs_are_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("workers")
    assert result["utterances"] >= 2
    assert result["walls"] == pytest.approx(result["all_1_s"] / result["all_2_s"], abs=0.01)
