"""The plots and the table of a detailed evaluation."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from foal.train.report.evaluation import evaluation_table, plot_calibration, plot_overview

SCORES = {"ua_mean": 0.5, "ua_std": 0.1, "wa_mean": 0.625, "f1_mean": 0.25}
METRICS: dict[str, Any] = {
    **SCORES,
    "classes": ["hap", "sad"],
    "n": 18,
    "protocol": "loso-nested",
    "features": "0123456789abcdef",
    "seeds": [0, 1],
    "modalities": "both",
    "avel": True,
    "mem": True,
    "compat": [],
    "selected_on_test": False,
    "random_weights": True,
    "ua_ci95": [0.4, 0.6],
    "wa_ci95": [0.5, 0.7],
    "per_class": {"hap": {"recall": 0.75}, "sad": {"recall": 0.0}},
    "per_speaker": {f"s{i}": {"ua_mean": i / 5} for i in range(5)},
    "calibration": {"ece_mean": 0.125, "bins": {"accuracy": [None, 0.5, 1.0], "counts": [0, 4, 2]}},
    "warnings": ["random weights: numbers without meaning"],
}
DETAILS: dict[str, Any] = {
    "robustness": {"complete": SCORES, "audio removed": {**SCORES, "ua_mean": 0.375, "ua_std": None}},
    "retrieval": {"avel: audio to face": {"map": 0.4375, "r1": 0.3, "chance": 0.2}},
    "matching": {"accuracy": 0.8125, "auc": 0.9, "auc_own": 0.9, "auc_other": 0.9, "pairs": 54},
}


def text_of(metrics: dict[str, Any]) -> str:
    console = Console(file=StringIO(), width=100)
    console.print(evaluation_table(metrics))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_table_contains_all_scores_in_percent() -> None:
    text = text_of({**METRICS, **DETAILS})
    for expected in (
        "audio and face + AVEL + MEM (encoder with random weights)",
        "18 utterances, loso-nested, features 01234567, 2 seeds",
        "audio removed",
        "37.5",
        "40.0-60.0",
        "recall: hap 75.0   sad 0.0",
        "calibration error (ECE): 12.5",
        "avel: audio to face",
        "43.8",
        "matching: accuracy 81.2",
        "50 is chance, the score of guessing",
        "warning: random weights",
    ):
        assert expected in text
    assert "pairs 54" not in text
    assert "random sample" not in text


def test_the_table_says_how_many_queries_were_ranked() -> None:
    def text(available: int) -> str:
        scores = {"map": 0.4, "r1": 0.3, "chance": 0.2, "queries": 5000, "available": available}
        return text_of({**METRICS, "retrieval": {"avel: audio to face": scores, "avel: face to audio": scores}})

    assert "retrieval: 5,000 of 120,000 queries, a random sample of each group" in text(120_000)
    assert "random sample" not in text(5000)


def test_without_details_the_table_contains_only_the_scores_of_complete_features() -> None:
    text = text_of({**METRICS, "ua_ci95": None, "wa_ci95": None, "seeds": [0]})
    assert "complete" in text
    assert "1 seed" in " ".join(text.split())
    assert "1 seeds" not in " ".join(text.split())
    for expected in ("interval", "retrieval", "matching"):
        assert expected not in text


@pytest.mark.parametrize("metrics", [METRICS, {**METRICS, **DETAILS}], ids=["scores", "details"])
def test_the_overview_has_a_panel_for_each_kind_of_score(tmp_path: Path, metrics: dict[str, Any]) -> None:
    plot_overview(tmp_path / "overview.png", metrics, title="title")
    with Image.open(tmp_path / "overview.png") as image:
        panels = 3 if "retrieval" in metrics else 1
        assert abs(image.width - 150 * (1 + 3.9 * panels)) <= 1


def test_bins_without_an_utterance_have_no_bar(tmp_path: Path) -> None:
    plot_calibration(tmp_path / "calibration.png", METRICS, title="audio (compat: sum)")
    with Image.open(tmp_path / "calibration.png") as image:
        assert image.size == (720, 750)
