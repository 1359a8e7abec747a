"""Output of the `foal verify` command; tests/shared/store/test_verify.py tests its checks."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from foal.shared.utterance import Utterance

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def features(tmp_path: Path, sample_utterances: list[Utterance], make_features: Callable[..., Path]) -> Path:
    return make_features(tmp_path / "features", sample_utterances)


def test_json_is_the_last_line(foal_here: Foal, features: Path) -> None:
    completed = foal_here("verify", "--json")
    assert completed.returncode == 0
    first, last = completed.stdout.splitlines()
    assert "6 files intact" in first
    result = json.loads(last)
    assert (result["files"], result["problems"]) == (6, [])
    assert result["bytes"] == sum(path.stat().st_size for path in features.rglob("*.h5"))


def test_json_lists_the_problems_with_and_without_quiet(foal_here: Foal, features: Path) -> None:
    damaged = next(features.rglob("*.h5"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    for arguments in (["verify", "--json"], ["verify", "--json", "--quiet"]):
        completed = foal_here(*arguments)
        assert completed.returncode == 1
        (problem,) = json.loads(completed.stdout.splitlines()[-1])["problems"]
        assert problem["path"].endswith(damaged.name)
        assert problem["reason"]
    assert completed.stdout.count("\n") == 1
