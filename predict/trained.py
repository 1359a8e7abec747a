"""A trained model: the networks of a run with what they read and predict, and their predictions for features.

No label and no training data are needed: a network contains the normalization of its inputs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..shared.config.train_settings import TrainSettings
from ..shared.errors import StoreError, TrainingError
from ..train.data.dataset import Dataset, open_dataset
from ..train.evaluate.ensemble import FoldModel, check_encoders, load_fold_models
from ..train.fit.device import amp_dtype
from ..train.fit.predict import Predictions, predict_targets
from ..train.report.run_folder import METRICS_FILE
from .exported import is_exported, read_networks

CPU = torch.device("cpu")
StatisticsOf = Literal["fold", "features"]


class Predicted(NamedTuple):
    """Predictions for m utterances.

    Attributes:
        ids: their ids, m.
        probabilities: class probabilities, (m, c) float32; c is 0 for a model of ratings only.
        ratings: predicted ratings, (m, k) float32 (None: the model predicts none).
    """

    ids: tuple[str, ...]
    probabilities: NDArray[np.float32]
    ratings: NDArray[np.float32] | None


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """The networks of a run, as an ensemble.

    Attributes:
        source: the folder that it was loaded from.
        name: name of the run, and of the part of it that was loaded.
        classes: class names, c; empty if it predicts ratings only.
        ratings: rated dimensions that it predicts, k; may be empty.
        streams: stream name in the training features by input, such as audio: audio, face: face/clip.
        provenance: encoder, revision, hash of the weights and configuration by stream name.
        settings: settings of the training.
        networks: the members of the ensemble, in eval mode.
        metadata: config.json of the first member: protocol, versions, groups and folds of the run.
        scores: metrics.json of the run (None: there is none, or the networks are final: no score belongs to them).
    """

    source: Path
    name: str
    classes: tuple[str, ...]
    ratings: tuple[str, ...]
    streams: Mapping[str, str]
    provenance: Mapping[str, Mapping[str, Any]]
    settings: TrainSettings
    networks: tuple[FoldModel, ...]
    metadata: Mapping[str, Any]
    scores: Mapping[str, Any] | None

    @property
    def is_final(self) -> bool:
        """Whether the networks were trained on all utterances of the run."""
        return self.networks[0].is_final

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return next(self.networks[0].model.parameters()).device

    def predict(
        self,
        data: Dataset,
        *,
        rows: Tensor | Sequence[int] | None = None,
        speaker_statistics: StatisticsOf = "fold",
    ) -> Predicted:
        """Predict classes and ratings: means over the networks.

        A modality without valid frames is replaced by the embedding that each network learned for it.

        Args:
            data: utterances of `open_unlabelled`.
            rows: rows of the utterances to predict, (m,) (default: all).
            speaker_statistics: what standardizes the features of a model that was trained with `normalize: speaker`.
                `features`: the statistics of all utterances of the speaker in `data`, as in training and in `foal
                evaluate`; where no utterance has a speaker, those of the fold. `fold`: those of the training group.
        """
        chosen = torch.arange(len(data)) if rows is None else torch.as_tensor(rows, dtype=torch.int64)
        if speaker_statistics == "fold":
            data = replace(data, speaker_statistics=None)
        device = self.device
        data = data.to(device)
        half = amp_dtype(self.settings, device)  # as in training
        members = [predict_targets(member.model, data, chosen, device=device, half=half) for member in self.networks]
        mean = Predictions(*(torch.stack(tables).mean(0) for tables in zip(*members, strict=True)))
        return Predicted(
            ids=tuple(data.ids[row] for row in chosen.tolist()),
            probabilities=mean.probabilities.numpy(),
            ratings=mean.ratings.numpy() if self.ratings else None,
        )


def load_trained(
    source: Path, *, fold: int | None = None, final: bool = False, device: torch.device = CPU
) -> TrainedModel:
    """Load the networks of a run.

    Args:
        source: the folder of a finished run: the networks of all folds and seeds; or one folder under its models/; or
            a folder of `foal export`.
        fold: only the networks that did not see the test group of this fold.
        final: of a run, the networks that `foal train --final` trained on all utterances.
        device: device of the networks.

    Raises:
        StoreError: there is no such model, or it is corrupt or of another version.
        TrainingError: the features of the run differ by fold: no single stream fits all networks.
    """
    source = Path(source)
    if not source.is_dir():
        raise StoreError(f"{source}: no such folder; expected the folder of a finished `foal train`")
    if is_exported(source):
        name, networks = read_networks(source)
        return _described(source, name, _chosen(source, networks, fold, final=final), device)
    networks = load_fold_models(source, fold=fold, final=final or _is_final_network(source))
    return _described(source, _name_of(source), networks, device)


def _chosen(source: Path, networks: Sequence[FoldModel], fold: int | None, *, final: bool) -> Sequence[FoldModel]:
    """The networks of an exported model that are asked for."""
    if final and not networks[0].is_final:
        raise StoreError(f"{source}: expected a final model, got one of folds; export it again with --final")
    chosen = [member for member in networks if fold is None or member.fold == fold]
    if not chosen:
        numbers = ", ".join(str(number) for number in sorted({member.fold for member in networks}))
        folds = "a final model, which has no folds" if networks[0].is_final else f"only {numbers}"
        raise StoreError(f"{source}: expected networks of fold {fold}, got {folds}")
    return chosen


def _described(source: Path, name: str, networks: Sequence[FoldModel], device: torch.device) -> TrainedModel:
    """Describe some networks of one run as a model; see `load_trained`."""
    metadata, architecture = networks[0].metadata, networks[0].model.architecture
    settings = TrainSettings.model_validate(metadata["settings"])
    if metadata.get("fold_streams") or settings.fold_features:
        raise TrainingError(
            f"{source}: expected networks that read the same features, got a run with features per fold "
            "(train.fold_features); train again with one stream for all folds"
        )
    for member in networks:
        member.model.to(device)
    streams = dict(zip(architecture.frame_shapes, metadata["streams"], strict=True))
    return TrainedModel(
        source=source,
        name=name,
        classes=tuple(metadata["classes"]),
        ratings=settings.dimensions,
        streams=streams,
        provenance={name: metadata["provenance"][name] for name in streams.values()},
        settings=settings,
        networks=tuple(networks),
        metadata=metadata,
        scores=None if networks[0].is_final else run_scores(source),
    )


@contextmanager
def open_unlabelled(model: TrainedModel, features: Path) -> Iterator[Dataset]:
    """Open all utterances of feats.h5 for a model, with or without labels; the dataset is valid inside the block.

    Args:
        model: the model, whose settings choose the streams, frame rate and maximum length.
        features: feats.h5. Of several streams of a modality, the one with the name of the training is read.

    Raises:
        TrainingError: a stream is missing or of another encoder than that of the training, a feature is NaN or
            infinite, or the model reads dialogs and an utterance has none or no place in it.
        StoreError: the features cannot be read.
    """
    with open_dataset(features, model.settings, classes=model.classes, labelled=False) as data:
        check_encoders(model.networks[0], data, model.source, features)
        yield data


def run_scores(source: Path) -> Mapping[str, Any] | None:
    """metrics.json of a run or an export, or of the run that a folder under models/ belongs to, if it exists."""
    folder = source.resolve()
    run = folder.parent.parent if folder.parent.name == "models" else folder
    try:
        scores: Mapping[str, Any] = json.loads((run / METRICS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return scores


def _is_final_network(folder: Path) -> bool:
    """Whether a folder under models/ contains a network that was trained on all utterances."""
    try:
        return bool(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("final"))
    except (OSError, ValueError, AttributeError):
        return False


def _name_of(source: Path) -> str:
    """The name of a run; of a single network RUN/seed0-fold1."""
    folder = source.resolve()
    return f"{folder.parent.parent.name}/{folder.name}" if folder.parent.name == "models" else folder.name
