"""`foal compare`: settings that differ, scores, and paired tests where folds and utterances agree."""

import json
import shutil
import subprocess
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from foal.shared.errors import FoalError, UsageError
from foal.train.compare.pooled import pooled_results
from foal.train.compare.side_by_side import compare_runs, comparison_table

Foal = Callable[..., subprocess.CompletedProcess[str]]


def text_of(comparison: dict[str, Any]) -> str:
    console = Console(width=300, record=True, file=StringIO())
    console.print(comparison_table(comparison))
    return console.export_text()


def test_the_test_is_that_of_results_against(two_runs: Path) -> None:
    both, audio = two_runs / "runs" / "both", two_runs / "runs" / "audio"
    comparison = compare_runs([both, audio])
    (test,) = comparison["tests"]
    against = pooled_results([audio], [both])["against"]
    assert {key: test[key] for key in ("gain", "gain_ci95", "p")} == {
        key: against[key] for key in ("gain", "gain_ci95", "p")
    }
    assert (test["run"], test["p_holm"], test["speakers"]) == (str(audio), test["p"], 6)
    assert comparison["differences"] == {"seeds": [[0, 1], [0]], "train.streams": [["audio", "face"], ["audio"]]}
    text = text_of(comparison)
    assert "│ train.streams " in text
    assert "audio, face" in text
    assert f"{audio} against {both}: difference in UA {100 * test['gain']:+.1f}" in text
    assert "With 6 speakers" not in text  # 2 / 2**6 is below 0.05


def changed_copy(run: Path, copy: Path, **changes: Any) -> Path:
    shutil.copytree(run, copy)
    metrics = json.loads((copy / "metrics.json").read_text())
    (copy / "metrics.json").write_text(json.dumps({**metrics, **changes}))
    return copy


def test_other_folds_or_utterances_are_not_tested_but_explained(two_runs: Path, tmp_path: Path) -> None:
    both, audio = two_runs / "runs" / "both", two_runs / "runs" / "audio"
    folds = changed_copy(audio, tmp_path / "folds", folds_digest="0", protocol="loso-scenes-nested")
    fewer = changed_copy(audio, tmp_path / "fewer")
    lines = (fewer / "predictions.csv").read_text().splitlines()
    (fewer / "predictions.csv").write_text("\n".join(lines[:-1]) + "\n")
    tests = compare_runs([both, folds, audio, fewer])["tests"]
    assert tests[0]["reason"] == (
        "the folds differ (protocol loso-nested and loso-scenes-nested); train both on the same ones"
    )
    assert "p" in tests[1]
    assert "expected the same utterances" in tests[2]["reason"]
    assert f"{folds} against {both}: no test: the folds differ" in text_of(compare_runs([both, folds]))


def test_several_tests_are_corrected(two_runs: Path, tmp_path: Path) -> None:
    both, audio = two_runs / "runs" / "both", two_runs / "runs" / "audio"
    comparison = compare_runs([both, audio, changed_copy(audio, tmp_path / "again")])
    first, second = comparison["tests"]
    assert first["p"] == second["p"]
    assert first["p_holm"] == second["p_holm"] == min(1.0, 2 * first["p"])
    assert "corrected for 2 tests" in text_of(comparison)


def test_runs_that_cannot_be_compared_are_refused(two_runs: Path, foal_in: Foal) -> None:
    both = two_runs / "runs" / "both"
    with pytest.raises(UsageError, match="expected at least two runs to compare, got 1"):
        compare_runs([both])
    with pytest.raises(UsageError, match="got one of them twice"):
        compare_runs([both, both / "metrics.json"])
    with pytest.raises(FoalError, match="absent: no such run"):
        compare_runs([both, two_runs / "absent"])
    assert foal_in(two_runs, "compare", "runs/both", "absent").returncode == 1
    assert foal_in(two_runs, "compare", "runs/both").returncode == 2


def test_the_command_prints_table_and_json(two_runs: Path, foal_in: Foal) -> None:
    result = foal_in(two_runs, "compare", "runs/both", "runs/audio", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    printed = json.loads(result.stdout.splitlines()[-1])
    assert [run["run"] for run in printed["runs"]] == ["runs/both", "runs/audio"]
    assert printed == compare_as_text(two_runs, "runs/both", "runs/audio")


def compare_as_text(folder: Path, *runs: str) -> Any:
    """The comparison with the folders as given on the command line."""
    comparison = compare_runs([folder / run for run in runs])
    return json.loads(json.dumps(comparison).replace(f"{folder}/", ""))
