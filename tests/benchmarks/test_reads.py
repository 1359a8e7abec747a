"""benchmarks/reads.py: reading features compared with numpy.memmap."""

from collections.abc import Callable
from typing import Any


def test_every_way_of_reading_is_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("reads")
    for name in ("random_audio", "random_face", "random_utterance", "sequential", "training", "training_wall"):
        assert result[name] > 0
    assert result["utterances"] == 55
