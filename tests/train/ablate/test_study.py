"""Tables and scores that studies share."""

from collections.abc import Callable

import numpy as np
import pytest

from foal.shared.config.train_settings import TrainSettings
from foal.train.ablate.study import Study, predict_tested, score_row
from foal.train.ablate.systems import System
from foal.train.data.dataset import Dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.fit.task import FitResult


@pytest.fixture
def study(make_dataset: Callable[..., Dataset]) -> Study:
    data = make_dataset(24, c=2)
    folds = build_cross_validation(data.utterances, "loso-nested", data.speakers)
    settings = TrainSettings(bootstrap=20)
    return Study(
        settings=settings, seeds=(0, 1), data=data, folds=folds, folds_by_protocol={folds.protocol: folds}, floor=None
    )


def fits(study: Study, *, right: float, wrong_seed: int | None = None) -> list[FitResult]:
    """Fits that give the true class the probability `right`, except those of one seed, which give it to the other."""
    results = []
    for seed in study.seeds:
        for fold in study.folds.folds:
            truth = np.eye(2)[study.data.labels[fold.test_rows].numpy()]
            share = 1 - right if seed == wrong_seed else right
            table = (truth * share + (1 - truth) * (1 - share)).astype(np.float32)
            results.append(
                FitResult(seed=seed, fold=fold.number, epoch=3, seconds=2.0, history=(), probabilities=table)
            )
    return results


def test_rows_have_the_scores_of_their_tables(study: Study) -> None:
    good, poor = (System(id=name, name=name, description="") for name in ("good", "poor"))
    late = System(id="late", name="late", description="", kind="late", parts=("good", "poor"))
    results = {"good": fits(study, right=0.9), "poor": fits(study, right=0.7, wrong_seed=1)}
    predicted = predict_tested(study, [good, poor, late], results)
    rows = {s.id: score_row(study, s, predicted, results.get(s.id, [])) for s in (good, poor, late)}
    assert rows["good"]["ua_per_seed"] == [1.0, 1.0]
    assert rows["poor"]["ua_per_seed"] == [1.0, 0.0]
    # Seed 1: the mean of 0.9 and 0.3 is above one half.
    assert rows["late"]["ua_per_seed"] == [1.0, 1.0]
    assert (rows["poor"]["epoch_mean"], rows["poor"]["seconds"], rows["late"]["seconds"]) == (3.0, 2.0, None)
    assert predicted.counts["good"].sum() == 2 * len(study.folds.tested)


def test_the_majority_class_has_one_seed_and_the_ua_of_chance(study: Study) -> None:
    system = System(id="majority", name="majority class", description="", kind="majority")
    row = score_row(study, system, predict_tested(study, [system], {}), [])
    assert (row["seeds"], row["ua_mean"], row["epoch_mean"]) == (1, 0.5, None)


def test_the_description_has_what_a_table_names(study: Study) -> None:
    described = study.describe()
    assert (described["protocol"], described["seeds"], described["n"]) == ("loso-nested", [0, 1], 24)
    assert described["speakers"] == len(set(study.speakers)) == 6
