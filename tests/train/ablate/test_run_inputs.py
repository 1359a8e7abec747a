"""Ablations over features of one modality, and over folds of the manifest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from foal.shared.utterance import Utterance
from foal.tests.train.ablate.quick_settings import QUICK, SETTINGS
from foal.train.ablate.run import ablate
from foal.train.fit.task import FitTask


@pytest.mark.parametrize("modality", ["audio", "face"])
def test_features_of_one_modality_give_only_its_own_systems(
    tmp_path: Path,
    sample_utterances: list[Utterance],
    make_index: Callable[..., Path],
    modality: str,
    requested_tasks: list[FitTask],
) -> None:
    feats = make_index(tmp_path, sample_utterances, widths={modality: 5})
    settings = SETTINGS.model_copy(update={"train": QUICK.model_copy(update={"seeds": (0,), "protocol": None})})
    ablation = ablate(settings, feats, tmp_path / "out", deviations=True)
    baselines = [f"{name}-{modality}" for name in ("regression", "regression-std", "linear-svm", "rbf-svm", "mlp")]
    assert [row["id"] for row in ablation["rows"]] == ["majority", *baselines, modality]
    assert ablation["baseline"] == modality
    assert ablation["streams"] == [modality]
    assert len(requested_tasks) == 3 * 6
    assert ablation["verdict"] is None
    assert [row["gain"] is None for row in ablation["rows"]] == [False] * 6 + [True]
    assert (tmp_path / "out" / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_folds_of_the_manifest_have_no_system_selected_on_test(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path], requested_tasks: list[FitTask]
) -> None:
    fixed = [replace(u, fold=("train", "train", "val", "test")[i // 2 % 4]) for i, u in enumerate(sample_utterances)]
    train = QUICK.model_copy(update={"seeds": (0,), "streams": ("audio",)})
    ablation = ablate(
        SETTINGS.model_copy(update={"train": train}), make_index(tmp_path, fixed), tmp_path / "out", deviations=True
    )
    assert ablation["protocol"] == "folds-nested"
    assert not any(row["selected_on_test"] for row in ablation["rows"])
    # The features have both modalities, but only one is selected.
    assert len(ablation["rows"]) == 7
    assert (ablation["n"], len(requested_tasks)) == (4, 6)
