"""`foal runs`: finished, unfinished and damaged runs, newest first."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from foal.shared.errors import FoalError
from foal.train.compare.run_list import list_runs, runs_table

Foal = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def runs(two_runs: Path, tmp_path: Path) -> Path:
    """Two finished runs, an unfinished one and three damaged ones, each a day older than the one before."""
    folder = tmp_path / "runs"
    for name in ("both", "study/audio", "no-metrics", "bad-metrics", "no-settings"):
        shutil.copytree(two_runs / "runs" / ("audio" if "audio" in name else "both"), folder / name)
    unfinished = folder / ".late.unfinished"
    (unfinished / "fits").mkdir(parents=True)
    shutil.copy(two_runs / "runs" / "both" / "run.json", unfinished)
    (unfinished / "fits" / "seed0-fold1.json").write_text("{}")
    (folder / "no-metrics" / "metrics.json").unlink()
    (folder / "bad-metrics" / "metrics.json").write_text("{")
    (folder / "no-settings" / "run.json").unlink()
    (folder / "both" / "evaluation").mkdir()
    (folder / "both" / "evaluation" / "metrics.json").write_text("{}")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "metrics.json").write_text("{}")  # an evaluation with --out
    for day, name in enumerate(("study/audio", ".late.unfinished", "both", "no-metrics", "bad-metrics", "no-settings")):
        for path in (folder / name).iterdir():
            os.utime(path, (2e9 - 86400 * day,) * 2)
    return folder


def test_runs_are_listed_with_their_state_newest_first(runs: Path) -> None:
    found = list_runs(runs)
    assert [(Path(run["run"]).relative_to(runs).as_posix(), run["state"]) for run in found] == [
        ("study/audio", "finished"),
        ("late", "unfinished"),
        ("both", "finished"),
        ("no-metrics", "damaged"),
        ("bad-metrics", "damaged"),
        ("no-settings", "damaged"),
    ]
    metrics = json.loads((runs / "both" / "metrics.json").read_text())
    both = found[2]
    assert (both["ua"], both["ua_ci95"], both["n"]) == (metrics["ua_mean"], metrics["ua_ci95"], 18)
    assert (both["head"], both["streams"], both["protocol"]) == ("cross-attention", ["audio", "face"], "loso-nested")
    assert both["warnings"] == metrics["warnings"] != []
    assert found[1]["problem"] == "1 fit finished; continue with `foal train --resume`"
    assert found[1]["streams"] == ["audio", "face"]
    assert found[3]["problem"] == "metrics.json is missing"
    assert "invalid JSON" in found[4]["problem"]
    assert found[5]["problem"] == "run.json is missing or no JSON; train again"


def test_the_table_has_a_row_per_run_and_the_problems_below(runs: Path) -> None:
    console = Console(width=200, record=True, file=StringIO())
    console.print(runs_table(list_runs(runs), runs))
    text = console.export_text()
    assert "study/audio" in text
    assert "encoder with random weights" in text
    assert f"{runs / 'no-metrics'}: damaged: metrics.json is missing" in text.replace("\n", "")


def test_a_run_itself_and_a_folder_without_runs(runs: Path, tmp_path: Path) -> None:
    assert [run["run"] for run in list_runs(runs / "both")] == [str(runs / "both")]
    (tmp_path / "empty").mkdir()
    assert list_runs(tmp_path / "empty") == []
    with pytest.raises(FoalError, match="absent: no such folder") as error:
        list_runs(tmp_path / "absent")
    assert error.value.exit_code == 1


def test_the_command_lists_runs_and_prints_json(runs: Path, foal_in: Foal) -> None:
    result = foal_in(runs.parent, "runs", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert [run["run"] for run in json.loads(result.stdout.splitlines()[-1])["runs"]][:2] == [
        "runs/study/audio",
        "runs/late",
    ]
    assert "no runs" in foal_in(runs / "elsewhere", "runs", ".").stdout
    assert foal_in(runs, "runs").returncode == 1
