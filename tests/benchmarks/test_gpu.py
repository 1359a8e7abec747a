"""benchmarks/gpu.py: its parts on small media, and what its lines say when time or a part is missing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
PARTS = ["agreement", "detect", "encode", "base", "large", "train", "folds", "extract", "seeds"]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=900)


def lines(*arguments: str) -> dict[str, dict[str, Any]]:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    parsed = [json.loads(line) for line in done.stdout.splitlines()]
    return {line.pop("part"): line for line in parsed}


def test_parts_run_on_small_media() -> None:
    wanted = ["agreement", "detect", "large", "train"]
    found = lines("--tiny", "--budget", "800", "--parts", ",".join(wanted))
    assert list(found) == wanted
    assert not [line for line in found.values() if "error" in line or "skipped" in line]
    assert found["agreement"]["faces"][0] == found["agreement"]["faces"][1] > 0
    assert found["agreement"]["box_px"] < 1e-3
    assert found["agreement"]["face_fp32"] < 1e-4
    assert found["agreement"]["audio_fp32"] < 1e-4
    large = found["large"]
    assert large["batched_speedup"] == pytest.approx(large["utterances_per_s"] / large["one_by_one_per_s"], rel=0.05)
    assert large["cores"] > 0
    assert found["train"]["run_s"] > 0


def test_parts_without_time_are_skipped_with_a_line() -> None:
    found = lines("--tiny", "--budget", "0")
    assert list(found) == PARTS
    assert all(line["skipped"] == "0 s of the budget left" for line in found.values())


def test_a_part_that_exceeds_the_budget_costs_its_own_line() -> None:
    found = lines("--tiny", "--budget", "11", "--parts", "agreement,detect,seeds")
    assert list(found) == ["agreement", "detect", "seeds"]
    assert "skipped" in found["seeds"]
    assert "error" in found["agreement"] or found["agreement"]["box_px"] < 1e-3


def test_unknown_parts_and_machines_without_a_gpu_are_refused() -> None:
    done = run("--tiny", "--parts", "detect,train2")
    assert done.returncode == 2
    assert "got train2" in done.stderr
    if not torch.cuda.is_available():
        assert run().stderr == "expected a GPU that PyTorch can use, found none\n"
