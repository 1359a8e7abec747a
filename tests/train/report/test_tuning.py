import copy
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from rich.console import Console

from foal.shared.config.settings import load_settings
from foal.shared.config.train_settings import TrainSettings
from foal.train.report.tuning import (
    plot_importance,
    plot_trials,
    tuning_table,
    verdict_line,
    write_best,
    write_markdown,
)


def trial(number: int, scores: list[float], **values: Any) -> dict[str, Any]:
    return {
        "trial": number,
        "current": number == 0,
        "parameters": {"learning_rate": 0.001, "width": 128, "pool": "mean", "skip": False} | values,
        "dev_ua": scores,
        "dev_ua_mean": sum(scores) / len(scores),
    }


def scores(ua: float) -> dict[str, Any]:
    return {
        "ua_mean": ua,
        "ua_ci95": [ua - 0.03, ua + 0.04],
        "wa_mean": ua - 0.01,
        "wa_ci95": None,
        "f1_mean": ua - 0.02,
    }


def example_tuning(**values: Any) -> dict[str, Any]:
    return {
        "protocol": "loso-nested",
        "features": "0123456789abcdef" * 4,
        "folds_digest": "fedcba9876543210" * 4,
        "seeds": [0, 1],
        "classes": ["ang", "hap", "neu", "sad"],
        "n": 5531,
        "speakers": 4,
        "random_weights": False,
        "versions": "torch 2.11.0",
        "streams": ["audio"],
        "settings": {"select": "ua", "pool": ["mean"], "learning_rate": 0.001, "width": 128, "skip": False},
        "warnings": ["session 3 is short"],
        "importance": {"skip": 0.6, "learning_rate": 0.3, "width": 0.1, "pool": 0.0},
        "trials": [
            trial(0, [0.5, 0.6]),
            trial(1, [0.65, 0.55], skip=True, pool="mean+std", learning_rate=0.000123),
            trial(2, [0.4, 0.61], width=32),
        ],
        "folds": [
            {"fold": 1, "test": "s1", "dev": "s2", "trial": 1, "dev_ua": 0.65, "current_dev_ua": 0.5},
            {"fold": 2, "test": "s2", "dev": "s1", "trial": 2, "dev_ua": 0.61, "current_dev_ua": 0.6},
        ],
        "best": {"trial": 1},
        "current": scores(0.55),
        "tuned": scores(0.57),
        "gain": 0.02,
        "gain_ci95": [-0.01, 0.05],
        "p": 0.25,
    } | values


def text_of(path: Path, tuning: dict[str, Any]) -> str:
    write_markdown(path, tuning)
    return path.read_text(encoding="utf-8")


def test_the_verdict_compares_tuned_and_current_settings() -> None:
    assert verdict_line(example_tuning()) == (
        "Test UA with tuned settings 57.0 (54.0 to 61.0), with the current settings 55.0 (52.0 to 59.0); gain "
        "+2.0 (-1.0 to +5.0), p 0.250"
    )


def test_markdown_contains_all_tables(tmp_path: Path) -> None:
    lines = text_of(tmp_path / "tune.md", example_tuning()).splitlines()
    assert lines[0] == "# Tuning, 3 trials"
    assert lines[2] == verdict_line(example_tuning())
    for expected in (
        "- session 3 is short",
        "| tuned, nested | 57.0 | 54.0 to 61.0 | 56.0 | - | 55.0 |",
        "| s1 | s2 | 1 | 65.0 | 50.0 |",
        "| mean development UA % | 55.0 | 60.0 |",
        "| pool | mean | mean+std |",
        "| 0 (current) | 55.0 | 0.001 | 128 | mean | false |",
        "With 4 speakers p cannot be below 0.125.",
    ):
        assert expected in lines
    first_cells = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert first_cells[-3:] == ["1", "0 (current)", "2"]


def test_notes_depend_on_the_folds_and_on_the_selection_of_the_epoch(tmp_path: Path) -> None:
    several = text_of(tmp_path / "a.md", example_tuning())
    assert "would not be nested" in several
    assert "optimistic" in several
    single = example_tuning(folds=example_tuning()["folds"][:1], settings={"select": "last", "pool": ["mean"]})
    text = text_of(tmp_path / "b.md", single)
    assert "would not be nested" not in text
    assert "optimistic" not in text


def test_the_printed_table_begins_with_the_verdict(tmp_path: Path) -> None:
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    floor = {"levels": {}, "note": "unknown, because"}
    console.print(tuning_table(example_tuning(random_weights=True, script_floor=floor)))
    console.file.close()
    text = console.export_text()
    assert text.startswith("Test UA with tuned settings")
    assert "random weights" in text
    assert "best setting on average: trial 1, learning_rate 0.000123, width 128, pool mean+std, skip true" in text
    assert "script floor: unknown, because" in text
    assert "warning: session 3 is short" in text


def test_the_best_setting_is_a_settings_file(tmp_path: Path) -> None:
    write_best(tmp_path / "best.yaml", example_tuning())
    loaded = load_settings(tmp_path / "best.yaml").train
    assert loaded == TrainSettings(learning_rate=0.000123, width=128, pool=("mean", "std"), skip=True)


@pytest.mark.parametrize("plot", [plot_trials, plot_importance])
def test_equal_studies_give_equal_plots(tmp_path: Path, plot: Any) -> None:
    tuning = example_tuning()
    before = copy.deepcopy(tuning)
    for name in ("a.png", "b.png"):
        plot(tmp_path / name, tuning)
    assert tuning == before
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert min(imread(tmp_path / "a.png").shape[:2]) > 200


@pytest.mark.parametrize("plot", [plot_trials, plot_importance])
def test_a_study_of_equal_scores_is_plotted(tmp_path: Path, plot: Any) -> None:
    trials = [trial(number, [0.25]) for number in range(60)]
    folds = [{**example_tuning()["folds"][0], "trial": 0}]
    plot(tmp_path / "a.png", example_tuning(trials=trials, folds=folds, importance={"skip": 0.0, "width": 0.0}))
    assert min(imread(tmp_path / "a.png").shape[:2]) > 150
