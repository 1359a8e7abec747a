"""benchmarks/shaped.py: a feature store with the shape of IEMOCAP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_the_store_has_the_durations_of_iemocap(run_benchmark: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    result = run_benchmark("shaped", str(tmp_path))
    assert result["utterances"] == 55
    assert result["mean_s"] == pytest.approx(4.55, abs=0.01)
    assert result["longest_s"] == 34.1
    assert (tmp_path / "feats.h5").is_file()
