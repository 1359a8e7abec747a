"""benchmarks/gpu.py: batched extraction against one by one, on a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch


def test_its_options_are_explained(
    run_benchmark: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a GPU at least its imports are checked; benchmarks/memory.py shares all that it runs."""
    with pytest.raises(SystemExit) as ended:
        run_benchmark("gpu", "--help")
    assert ended.value.code == 0
    assert "--utterances" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_both_ways_are_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("gpu")
    assert result["utterances"] == 2
    assert result["batched_speedup"] == pytest.approx(result["utterances_per_s"] / result["one_by_one_per_s"], abs=0.02)
