"""benchmarks/train_memory.py: the peak memory of a training process."""

from collections.abc import Callable
from typing import Any


def test_all_three_processes_are_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("train_memory")
    assert result["ram_features_gb"] == result["disk_features_gb"] > 0
    for mode in ("ram", "default", "disk"):
        assert result[f"{mode}_largest_gb"] > 0.1
        assert result[f"{mode}_s"] > 0
