"""Features of utterances, with and without labels, and runs that are trained on them in a second."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from foal.predict.share.hub import load
from foal.shared.config.settings import Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance
from foal.train.run import train

MakeFeatures = Callable[..., Path]
FILES = {"README.md", "config.json", "metrics.json", "model.safetensors", "preprocessing.json"}
"""The files of an export."""
HASHES = {"audio": "0" * 64, "face": "0" * 64}
QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=2, batch_size=8, bootstrap=50, seeds=(0, 1))


def settings(**changes: Any) -> Settings:
    return Settings(train=TrainSettings.model_validate(QUICK.model_dump() | changes))


def index_of(folder: Path, utterances: Sequence[Utterance], make_features: MakeFeatures, **options: Any) -> Path:
    """feats.h5 over random features of the utterances."""
    make_features(folder / "features", utterances, **options)
    hashes = dict.fromkeys(options.get("widths") or HASHES, "0" * 64)
    write_index(folder / "feats.h5", utterances, folder / "features", hashes)
    return folder / "feats.h5"


def run_of(folder: Path, features: Path, **changes: Any) -> Path:
    """A run of three folds and two seeds."""
    train(settings(**changes), features, folder)
    return folder


def other_corpus(utterances: Sequence[Utterance], **changes: Any) -> list[Utterance]:
    """The same utterances as those of a corpus that no run contains, without sessions and labels."""
    return [
        replace(utterance, **{"id": f"new-{utterance.id}", "corpus": "other", "session": "", "label": "", **changes})
        for utterance in utterances
    ]


def probabilities(source: Path, features: Path, *, fold: int | None = None, final: bool = False) -> np.ndarray:
    return load(source, fold=fold, final=final).predict_features(features).probabilities
