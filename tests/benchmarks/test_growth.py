"""benchmarks/growth.py: the cost of planning, indexing and opening by the number of utterances."""

from collections.abc import Callable
from typing import Any


def test_every_part_is_measured_at_every_size(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("growth")
    for part in ("manifest", "plan", "first_look", "nothing_to_do", "index", "open"):
        for count in (100, 400):
            assert result[f"{part}_{count}_s"] > 0
            assert result[f"{part}_{count}_mb"] > 20
        assert f"{part}_exponent" in result
