"""What the studies of classes share: their folds and floor, tables of probabilities, and scores of a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...shared.config.train_settings import Protocol, TrainSettings
from ..data.dataset import Dataset
from ..data.protocol import CrossValidation
from ..fit.task import FitResult, probability_table
from ..floor.folds import ScriptFloor
from ..metrics.classification import Counts, counts_by_speaker, pooled_scores
from ..report.files import corpora_seen, fold_streams_json, versions
from .script_rows import script_table
from .systems import System

Results = Mapping[str, Sequence[FitResult]]
"""Results of the fits of each system that has some, by system id."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What all systems share: settings, seeds, dataset, folds of the protocol and of others, and the script floor."""

    settings: TrainSettings
    seeds: Sequence[int]
    data: Dataset
    folds: CrossValidation
    folds_by_protocol: Mapping[Protocol | None, CrossValidation]
    floor: ScriptFloor | None

    def folds_of(self, system: System) -> CrossValidation:
        """The folds on which a system is fitted."""
        return self.folds_by_protocol[system.protocol or self.folds.protocol]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers of the tested utterances, (n,)."""
        labels: NDArray[np.int64] = self.data.labels.numpy()[self.folds.tested.numpy()]
        return labels

    @property
    def speakers(self) -> list[str]:
        """Speakers of the tested utterances, n."""
        return [self.data.speakers[row] for row in self.folds.tested.numpy()]

    def describe(self) -> dict[str, Any]:
        """Protocol, features, folds, seeds and settings, as JSON values."""
        data, folds = self.data, self.folds
        return {
            "protocol": folds.protocol,
            "selected_on_test": folds.selected_on_test,
            "features": data.digest,
            "folds_digest": folds.digest,
            "seeds": list(self.seeds),
            "classes": list(data.classes),
            "n": len(folds.tested),
            "speakers": len(set(self.speakers)),
            "random_weights": data.random_weights,
            "encoder_saw_corpus": bool(corpora_seen(data)),
            "versions": versions(),
            "streams": list(data.stream_names.values()),
            "fold_streams": fold_streams_json(data),
            "settings": self.settings.model_dump(mode="json"),
        }


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Predicted classes (seeds, n) and confusion matrices (seeds, speakers, c, c) of each system, by its id."""

    classes: Mapping[str, NDArray[np.int64]]
    counts: Mapping[str, Counts]


def predict_tested(study: Study, systems: Sequence[System], results: Results) -> Predicted:
    """The predicted classes of the tested utterances by every system; one seed for a deterministic one."""
    tables = {system.id: _table(study, system, results) for system in systems if system.kind != "late"}
    for system in systems:
        if system.kind == "late":
            tables[system.id] = np.mean([tables[part] for part in system.parts], axis=0)
    tested, labels, speakers = study.folds.tested.numpy(), study.labels, study.speakers
    # Every tested utterance has probabilities from every system.
    assert not any(np.isnan(table[:, tested]).any() for table in tables.values())
    classes = {name: table[:, tested].argmax(-1) for name, table in tables.items()}
    counts = {
        name: counts_by_speaker(labels, predicted, speakers, len(study.data.classes))
        for name, predicted in classes.items()
    }
    return Predicted(classes=classes, counts=counts)


def score_row(study: Study, system: System, predicted: Predicted, fits: Sequence[FitResult]) -> dict[str, Any]:
    """Name, scores, epochs and seconds of a system, as JSON values."""
    classes = predicted.classes[system.id]
    scores = pooled_scores(
        study.labels, classes, study.speakers, classes=study.data.classes, resamples=study.settings.bootstrap
    )
    del scores["confusion"]
    epochs = [fit.epoch for fit in fits if fit.epoch is not None]
    return {
        "id": system.id,
        "name": system.name,
        "description": system.description,
        "protocol": study.folds_of(system).protocol,
        "selected_on_test": study.folds_of(system).selected_on_test,
        "seeds": len(classes),
        **scores,
        "epoch_mean": float(np.mean(epochs)) if epochs else None,
        "seconds": float(np.mean([fit.seconds for fit in fits])) if fits else None,
    }


def _table(study: Study, system: System, results: Results) -> NDArray[np.float32]:
    """Probabilities (seeds, n, c) of a system; one seed for a deterministic one."""
    data, folds = study.data, study.folds_of(system)
    if system.kind == "majority":
        table = np.zeros((1, len(data), len(data.classes)), np.float32)
        for fold in folds.folds:
            majority = int(torch.bincount(data.labels[fold.train_rows]).argmax())
            table[0, fold.test_rows.numpy(), majority] = 1
        return table
    if system.kind == "script":
        assert study.floor is not None
        return script_table(system, study.floor, data)
    seeds = study.seeds if system.is_random else [0]
    return np.stack([probability_table(data, folds, results[system.id], seed) for seed in seeds])
