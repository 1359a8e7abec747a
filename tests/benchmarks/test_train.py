"""benchmarks/train.py: an epoch with the authors' procedure, with the same widths, and with the defaults."""

from collections.abc import Callable
from typing import Any

import pytest


def test_every_procedure_is_measured(run_benchmark: Callable[..., dict[str, Any]]) -> None:
    result = run_benchmark("train")
    for procedure in ("authors", "same_width", "own_losses", "default"):
        assert result[f"{procedure}_epoch_s"] > 0
    assert 0 < result["data_wait"] < 1
    assert result["vs_arithmetic"] == pytest.approx(result["step_ms"] / result["limit_ms"], rel=0.05)
    assert result["limit_ms"] == pytest.approx(1e3 * result["step_gflop"] / result["gemm_gflops"], rel=0.05, abs=2e-3)
    # Three of five sessions of 55 utterances.
    assert 25 <= result["train_utterances"] <= 40
