"""benchmarks/encode.py: encoders compared with the arithmetic limit."""

from collections.abc import Callable
from typing import Any


def test_operations_and_times_of_both_encoders_are_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("encode")
    # InceptionResnetV1 has its full size in any case.
    assert 2.5 < result["face_gflop"] < 3.2
    assert 0 < result["audio_gflop"] < 1
    assert result["audio_convolutions"] > 0
