"""Results of several finished runs: `foal results RUN RUN --against RUN`."""

import csv
import json
import subprocess
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from foal.shared.errors import UsageError
from foal.shared.utterance import Utterance
from foal.tests.train.evaluate.quick_run import SCORES
from foal.tests.train.quick_run import read_csv, settings
from foal.train.compare.finished_run import read_run
from foal.train.compare.pooled import gain_line, pooled_results, pooled_table
from foal.train.run import train

Foal = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pooled")


@pytest.fixture
def runs(workspace: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]) -> Path:
    """The folder of a run of two seeds (whole), one of other settings (other), and `whole` in two parts; read only."""
    if not (workspace / "part2").exists():
        feats = make_index(workspace, sample_utterances)
        train(settings(seeds=(0, 1)), feats, workspace / "whole")
        train(settings(seeds=(4, 7), avel=False, epochs=1), feats, workspace / "other")
        for name, folds in (("part1", {"session1", "session3"}), ("part2", {"session2"})):
            write_part(workspace / "whole", workspace / name, folds)
    return workspace


def write_part(run: Path, part: Path, folds: set[str]) -> Path:
    """A copy of a run with the predictions of some test groups only."""
    part.mkdir()
    for name in ("metrics.json", "run.json"):
        (part / name).write_text((run / name).read_text())
    write_rows(part / "predictions.csv", [row for row in read_csv(run / "predictions.csv") if row["fold"] in folds])
    return part


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def text_of(results: dict[str, Any]) -> str:
    console = Console(width=400, record=True, file=StringIO())
    console.print(pooled_table(results))
    return console.export_text()


def test_the_parts_of_a_run_have_its_scores(runs: Path) -> None:
    whole = json.loads((runs / "whole" / "metrics.json").read_text())
    pooled = pooled_results([runs / "part2", runs / "part1"])
    assert {name: pooled[name] for name in SCORES} == {name: whole[name] for name in SCORES}
    assert (pooled["n"], pooled["seeds"], pooled["speakers"]) == (18, 2, 6)
    assert pooled["seed_average"] == whole["seed_average"]
    assert pooled["classes"] == whole["classes"]
    assert pooled["against"] is None
    assert [run["run"] for run in pooled["runs"]] == [str(runs / "part2"), str(runs / "part1")]
    assert pooled["runs"][0]["features"] == whole["features"]
    assert pooled["warnings"] == whole["warnings"]


def test_the_speakers_are_those_of_the_metrics(runs: Path) -> None:
    assert set(read_run(runs / "whole" / "metrics.json").predictions.speakers) == {f"test/s{i}" for i in range(6)}


def test_differing_settings_and_protocols_are_reported(runs: Path) -> None:
    parts = [runs / "part1", runs / "part2"]
    compared = pooled_results(parts, [runs / "other"])
    assert compared["warnings"] == pooled_results(parts)["warnings"]  # a comparison may be of different systems
    changed = runs / "changed"
    if not changed.exists():
        write_part(runs / "other", changed, {"session2"})
    warnings = pooled_results([runs / "part1", changed])["warnings"]
    assert "the pooled runs differ in train.avel: true and false" in warnings
    assert "the pooled runs differ in train.epochs: 2 and 1" in warnings
    assert not any("train.seeds" in warning for warning in warnings)


def test_a_comparison_gives_gain_interval_and_p(runs: Path) -> None:
    own, other = (json.loads((runs / name / "metrics.json").read_text()) for name in ("whole", "other"))
    results = pooled_results([runs / "part1", runs / "part2"], [runs / "other"])
    against = results["against"]
    assert against["gain"] == pytest.approx(own["ua_mean"] - other["ua_mean"])
    assert against["gain_ci95"][0] <= against["gain"] <= against["gain_ci95"][1]
    assert 0 < against["p"] <= 1
    assert against["ua"] == other["ua_mean"]
    text = text_of(results)
    assert "2 runs pooled: audio and face + AVEL + MEM (encoder with random weights)" in text
    assert gain_line(against) in " ".join(text.split())
    for row in ("pooled", "95% interval", "deviation", "seeds averaged", "recall: hap"):
        assert row in text
    assert "warning: random weights" in text


def test_the_command_pools_compares_and_prints_json(runs: Path, foal_in: Foal) -> None:
    result = foal_in(runs, "results", "part1", "part2", "--against", "other,", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    expected = pooled_results([runs / "part1", runs / "part2"], [runs / "other"])
    printed = json.loads(result.stdout.splitlines()[-1])
    assert printed["against"]["gain"] == expected["against"]["gain"]
    assert {name: printed[name] for name in SCORES} == {name: expected[name] for name in SCORES}
    single = foal_in(runs, "results", "whole", "--against", "other")
    assert (single.returncode, "difference in UA to other: " in single.stdout) == (0, True)
    assert "all folds" in foal_in(runs, "results", "whole").stdout
    overlap = foal_in(runs, "results", "whole", "part1")
    assert overlap.returncode == 2
    assert (
        "expected runs over disjoint utterances, got 'u0' in whole and in part1; leave one of them out"
        in overlap.stderr
    )


def test_unusable_predictions_are_refused(runs: Path, tmp_path: Path) -> None:
    run = write_part(runs / "whole", tmp_path / "run", {"session1"})
    rows = read_csv(run / "predictions.csv")
    for changed, message in (
        ([{name: text for name, text in row.items() if name != "speaker"} for row in rows], "a column speaker, found"),
        ([*rows, rows[0]], "an utterance occurs twice, or not for every seed"),
        (rows[:-1], "predictions for every seed, got others"),
        ([{**row, "p_hap": "?"} for row in rows], "could not convert string to float"),
    ):
        write_rows(run / "predictions.csv", changed)
        with pytest.raises(UsageError, match=message):
            read_run(run)
    (run / "predictions.csv").unlink()
    with pytest.raises(
        UsageError, match=r"predictions\.csv: expected the predictions of a run, but they cannot be read"
    ):
        read_run(run)
    (run / "run.json").write_text("{}")
    with pytest.raises(UsageError, match=r"run\.json: expected the settings of the run, found none; train again"):
        read_run(run)
