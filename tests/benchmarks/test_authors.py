"""benchmarks/authors.py: a training step as in the procedure of Foal-Net's authors."""

from collections.abc import Callable
from typing import Any

VARIANTS = (
    "as_it_is",
    "without_fused_twice",
    "without_sampling_loop",
    "without_fixed_padding",
    "without_all",
)


def test_every_variant_is_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("authors")
    for variant in VARIANTS:
        assert result[f"{variant}_step_s"] > 0
        assert 0 < result[f"{variant}_data_share"] < 1
    assert result["steps"] == 1
    assert result["precision"] == "float32"
