"""Run the scripts of benchmarks/ with --tiny."""

import json
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `benchmarks/NAME.py ARGUMENTS --tiny` as a script, in this process; return its JSON line."""
    before = set(sys.modules)
    threads = torch.get_num_threads()

    def run(name: str, *arguments: str) -> dict[str, Any]:
        script = BENCHMARKS / f"{name}.py"
        monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        monkeypatch.setattr(sys, "argv", [str(script), *arguments, "--tiny"])
        runpy.run_path(str(script), run_name="__main__")
        (line,) = capsys.readouterr().out.splitlines()
        result = json.loads(line)
        assert isinstance(result, dict)
        return result

    yield run
    torch.set_num_threads(threads)
    # The scripts import each other as top-level modules.
    own = {path.stem for path in BENCHMARKS.glob("*.py")} | {"common"}
    for name in [name for name in sys.modules if name.split(".")[0] in own and name not in before]:
        sys.modules.pop(name)
