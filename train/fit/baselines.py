"""Baselines on one vector per utterance: logistic regression, support vector machines, a multilayer perceptron."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from ..data.dataset import Dataset
from ..data.pooled import Part, standardized_features
from ..data.protocol import Fold
from ..metrics.classification import confusion, unweighted_accuracy

Estimator = Literal["logistic", "linear-svm", "rbf-svm", "mlp", "ridge"]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A baseline: its estimator, and the parts of the pooled features, mean or mean and standard deviation.

    `ridge` predicts ratings (see `ridge.fit_ridge`), the others classes.
    """

    estimator: Estimator = "logistic"
    parts: tuple[Part, ...] = ("mean",)

    @property
    def is_random(self) -> bool:
        """Whether the result depends on the seed."""
        return self.estimator == "mlp"


class _Family(NamedTuple):
    """How to build an estimator, and the candidates for its regularization; development UA chooses among them."""

    build: Callable[[float, int], Any]
    strengths: tuple[float, ...]


FAMILIES: Mapping[str, _Family] = {
    "logistic": _Family(
        lambda c, seed: LogisticRegression(C=c, class_weight="balanced", max_iter=1000), (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    ),
    "linear-svm": _Family(
        lambda c, seed: LinearSVC(C=c, class_weight="balanced", dual="auto", random_state=0),
        (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    ),
    "rbf-svm": _Family(lambda c, seed: SVC(C=c, class_weight="balanced"), (0.3, 1.0, 3.0, 10.0, 30.0)),
    "mlp": _Family(
        lambda alpha, seed: MLPClassifier((128, 64), alpha=alpha, max_iter=100, random_state=seed),
        (1e-3, 1e-1, 1.0, 10.0),
    ),
}


def fit_baseline(
    data: Dataset, fold: Fold, baseline: Baseline, *, refit: bool = False, seed: int = 0
) -> NDArray[np.float32]:
    """Fit a baseline on the training rows of a fold and predict its test rows.

    Features are standardized with the statistics of the training group; a missing modality is replaced by its training
    mean. Classes are balanced, except for the perceptron. The regularization with the best development UA is used.

    Args:
        data: the dataset.
        fold: rows of the training, development and test groups.
        baseline: logistic regression, linear or RBF support vector machine, or perceptron with two hidden layers.
        refit: fit once more on training and development group with the chosen regularization.
        seed: seed of the perceptron.

    Returns:
        Probabilities (m, c) of the fold's test rows. A support vector machine has none: the softmax of its scores.
    """
    table = imputed_features(data, fold, baseline.parts)
    labels = data.labels.numpy()
    train, dev, test = (rows.numpy() for rows in (fold.train_rows, fold.dev_rows, fold.test_rows))
    family = FAMILIES[baseline.estimator]

    def fitted(strength: float, rows: NDArray[np.int64]) -> Pipeline:
        model = make_pipeline(StandardScaler(), family.build(strength, seed))
        # The development UA decides, converged or not; a line search may try weights that overflow.
        with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(table[rows], labels[rows])

    best: tuple[float, float, Pipeline] | None = None
    for strength in family.strengths:
        model = fitted(strength, train)
        counts = confusion(labels[dev], model.predict(table[dev]), len(data.classes))
        ua = float(unweighted_accuracy(counts))
        if best is None or ua > best[0]:
            best = ua, strength, model
    assert best is not None
    model = fitted(best[1], fold.refit_rows.numpy()) if refit and not fold.dev_is_test else best[2]
    return _probabilities(model, table[test])


def imputed_features(data: Dataset, fold: Fold, parts: Sequence[Part]) -> NDArray[np.float32]:
    """Pooled features of all inputs, (n, w); a missing modality is replaced by its mean in the training group."""
    table = np.concatenate(list(standardized_features(data, fold.train_rows, parts).values()), axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a modality that is missing everywhere
        mean = np.nan_to_num(np.nanmean(table[fold.train_rows.numpy()], axis=0))
    imputed: NDArray[np.float32] = np.where(np.isnan(table), mean, table)
    return imputed


def _probabilities(model: Pipeline, table: NDArray[np.float32]) -> NDArray[np.float32]:
    # Every class occurs in the training group (see protocol.check_classes), so the columns are the classes.
    if hasattr(model, "predict_proba"):
        probabilities: NDArray[np.float32] = model.predict_proba(table).astype(np.float32)
        return probabilities
    scores = torch.from_numpy(np.asarray(model.decision_function(table), np.float32))
    if scores.dim() == 1:  # two classes
        scores = torch.stack([-scores, scores], 1)
    return scores.softmax(1).numpy()
