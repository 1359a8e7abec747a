"""benchmarks/gpu.py: batched compared with unbatched extraction on a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch


def test_help_lists_the_options(
    run_benchmark: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """On machines without a GPU this checks the imports; the test of benchmarks/memory.py runs the shared code."""
    with pytest.raises(SystemExit) as caught:
        run_benchmark("gpu", "--help")
    assert caught.value.code == 0
    assert "--utterances" in capsys.readouterr().out


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batched_and_unbatched_extraction_are_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("gpu")
    assert result["utterances"] == 2
    assert result["batched_speedup"] == pytest.approx(result["utterances_per_s"] / result["one_by_one_per_s"], abs=0.02)
