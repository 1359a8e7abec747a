"""Tests of the study of ratings."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from foal.shared.errors import UsageError
from foal.shared.utterance import Utterance
from foal.tests.train.ablate.quick_settings import SETTINGS
from foal.tests.train.targets.rated_index import rated
from foal.train.ablate.ratings import rating_systems
from foal.train.ablate.run import ablate
from foal.train.fit.task import FitTask
from foal.train.tune.run import tune


def test_a_study_of_ratings_compares_ridge_and_networks(
    tmp_path: Path,
    sample_utterances: list[Utterance],
    make_index: Callable[..., Path],
    requested_tasks: list[FitTask],
) -> None:
    feats = make_index(tmp_path, rated(sample_utterances))
    train = SETTINGS.train.model_copy(update={"target": ("valence", "arousal")})
    ablation = ablate(SETTINGS.model_copy(update={"train": train}), feats, tmp_path / "out")
    rows = {row["id"]: row for row in ablation["rows"]}
    assert list(rows) == ["mean", "ridge-audio", "ridge-face", "ridge-both", "audio", "face", "fusion"]
    assert len(requested_tasks) == 3 * 3 + 3 * 3 * 2
    assert [rows[name]["seeds"] for name in ("mean", "ridge-both", "fusion")] == [1, 1, 2]
    assert rows["mean"]["ccc_mean"] <= 0.05  # a constant per fold
    assert rows["fusion"]["dimensions"]["valence"]["n"] == 17
    best = max(("ridge-audio", "ridge-face", "ridge-both"), key=lambda name: rows[name]["ccc_mean"])
    assert ablation["verdict"]["baseline"] == best
    assert ablation["verdict"]["gain"] == pytest.approx(rows["fusion"]["ccc_mean"] - rows[best]["ccc_mean"])
    assert json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8")) == ablation
    assert "| ridge, both | 1 |" in (tmp_path / "out" / "ablation.md").read_text(encoding="utf-8")


def test_one_input_has_no_fusion() -> None:
    assert [system.id for system in rating_systems(["audio"])] == ["mean", "ridge-audio", "audio"]


@pytest.mark.parametrize("target", [("label", "valence"), ("soft",)])
def test_other_targets_are_refused(tmp_path: Path, feats: Path, target: tuple[str, ...]) -> None:
    train = SETTINGS.train.model_copy(update={"target": target})
    settings = SETTINGS.model_copy(update={"train": train})
    with pytest.raises(UsageError, match="compares systems on label, or on ratings alone"):
        ablate(settings, feats, tmp_path / "out")
    with pytest.raises(UsageError, match="searches settings by the UA of labels"):
        tune(settings, feats, tmp_path / "out", trials=2)
