"""benchmarks/text.py: the time of a text encoder, and batches against single utterances."""

from collections.abc import Callable
from typing import Any


def test_batches_and_single_utterances_are_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("text")
    assert result["utterances"] == 40
    assert result["tokens"] > 40 * 5
    assert 0 < result["largest_relative_difference"] < 1e-5
    assert min(result["seconds_per_1000"], result["single_seconds_per_1000"]) > 0
