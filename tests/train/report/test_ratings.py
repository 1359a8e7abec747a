"""Tests of the tables and the plot of ratings."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, RenderableType

from foal.train.metrics.regression import group_scores, rating_scores
from foal.train.report.plots import plot_ratings
from foal.train.report.ratings import rating_ablation_table, rating_table, write_rating_markdown

NAMES = ("valence", "arousal")
RNG = np.random.default_rng(0)
TRUTH = RNG.integers(1, 6, (30, 2)).astype(float)
PREDICTED = TRUTH + RNG.normal(size=(2, 30, 2))
SCORES = rating_scores(TRUTH, PREDICTED, [f"s{n % 5}" for n in range(30)], dimensions=NAMES, resamples=20)
FOLDS = [
    {"test": f"g{n}", "dev": "d", "ratings": group_scores(TRUTH[n::3], PREDICTED[0, n::3], NAMES)} for n in range(3)
]


def text(table: RenderableType) -> str:
    output = StringIO()
    Console(file=output, width=200).print(table)
    return output.getvalue()


def test_the_table_has_every_fold_the_intervals_and_the_deviation() -> None:
    shown = text(rating_table({"ratings": SCORES, "folds": FOLDS, "seeds": [0, 1]}, title="audio"))
    assert "audio" in shown
    assert f"{FOLDS[1]['ratings']['valence']['ccc']:.3f}" in shown  # type: ignore[index]
    low, high = SCORES["dimensions"]["arousal"]["ccc_ci95"]
    assert f"{low:.2f} to {high:.2f}" in shown
    assert "over seeds" in shown
    assert "mean CCC" in shown


def test_a_fold_of_equal_ratings_has_a_dash() -> None:
    folds = [{"test": "g", "dev": "d", "ratings": {"valence": {"ccc": None, "mae": 0.5, "n": 2}}}]
    scores = {**SCORES, "dimensions": {"valence": SCORES["dimensions"]["valence"]}}
    row = next(
        line
        for line in text(rating_table({"ratings": scores, "folds": folds, "seeds": [0]})).split("\n")
        if " g " in line
    )
    assert " - " in row
    assert "0.500" in row


@pytest.mark.usefixtures("drawn_figures")
def test_the_plot_is_a_picture_and_skips_missing_ratings(tmp_path: Path) -> None:
    truth = TRUTH.astype(np.float32)
    truth[3:9, 1] = np.nan
    plot_ratings(tmp_path / "ratings.png", truth, PREDICTED[0].astype(np.float32), {"ratings": SCORES}, title="audio")
    assert (tmp_path / "ratings.png").read_bytes()[:4] == b"\x89PNG"


def test_the_study_shows_its_verdict_first(tmp_path: Path) -> None:
    rows = [{"id": name, "name": f"the {name}", "seeds": 2, **SCORES} for name in ("ridge", "fusion")]
    ablation = {
        "target": list(NAMES),
        "n": 30,
        "speakers": 5,
        "protocol": "loso-nested",
        "features": "0" * 16,
        "seeds": [0, 1],
        "verdict": {"system": "fusion", "baseline": "ridge", "gain": 0.0125, "gain_ci95": [-0.1, 0.2]},
        "warnings": ["random weights"],
        "rows": rows,
    }
    verdict = f"best baseline (the ridge): {SCORES['ccc_mean']:.3f}; difference +0.013 (-0.100 to +0.200)"
    assert verdict.replace("+0.013", f"{0.0125:+.3f}") in text(rating_ablation_table(ablation))
    write_rating_markdown(tmp_path / "ablation.md", ablation)
    lines = (tmp_path / "ablation.md").read_text(encoding="utf-8").splitlines()
    assert lines[2].startswith("the fusion: CCC")
    assert "- random weights" in lines
