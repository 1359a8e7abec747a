"""The script floor of a manifest alone: no feature is read, so none has to be extracted."""

from collections.abc import Sequence
from typing import Any

import torch

from ...shared.config.train_settings import Protocol
from ...shared.errors import TrainingError
from ...shared.utterance import Utterance
from ..data.dataset import Dataset
from ..data.features import InMemory
from ..data.protocol import build_cross_validation
from .folds import floor_json, script_floor
from .inertia import label_inertia


def floor_of_manifest(
    utterances: Sequence[Utterance],
    protocol: Protocol = "loso-nested",
    *,
    classes: Sequence[str] | None = None,
    scene_groups: int | None = None,
) -> dict[str, Any]:
    """The script floor and the inertia of labels, from ids, times and labels.

    Args:
        utterances: all rows of a manifest. Those without a label, or with another one, only tell how long dialogs are.
        protocol: name of the protocol.
        classes: class names (None: every label that occurs, sorted).
        scene_groups: number of groups of scenes of loso-scenes-nested (None: one per scene).

    Returns:
        `protocol`, `folds` (number), `n`, `classes`, `script_floor` and `label_inertia`, as in metrics.json.

    Raises:
        TrainingError: fewer than two classes, or the protocol does not fit.
    """
    names = tuple(classes or sorted({utterance.label for utterance in utterances} - {""}))
    labelled = tuple(utterance for utterance in utterances if utterance.label in names)
    if len({utterance.label for utterance in labelled}) < 2:
        raise TrainingError(
            f"expected labels of at least two classes in the manifest, got {', '.join(names) or 'none'}"
        )
    data = Dataset(
        utterances=labelled,
        classes=names,
        labels=torch.tensor([names.index(utterance.label) for utterance in labelled]),
        features=InMemory({}),
        rates={},
        stream_names={},
        provenance={},
        every=tuple(utterances),
    )
    folds = build_cross_validation(labelled, protocol, data.speakers, scene_groups=scene_groups)
    return {
        "protocol": folds.protocol,
        "folds": len(folds.folds),
        "n": len(folds.tested),
        "classes": list(names),
        "script_floor": floor_json(data, script_floor(data, folds), folds.tested.numpy()),
        "label_inertia": label_inertia(data),
    }
