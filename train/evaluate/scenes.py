"""Scores by scene and kind of scene (scripted, improvised), and the script floor of the utterances that are scored."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.dataset import Dataset
from ..floor.folds import floor_json, scene_kind, script_floor_of
from ..floor.inertia import label_inertia
from ..floor.positions import KINDS
from .ensemble import SeedEnsemble, training_mask
from .groups import group_scores

NO_TRAINING = (
    "not computed, because these features lack utterances that the networks were trained on; metrics.json of the run "
    "has that of the run"
)
OTHER_GROUPS = "not computed for utterances of a corpus or group that the run did not contain"


def scene_scores(
    data: Dataset, ensemble: SeedEnsemble, predicted: NDArray[np.int64], metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """The keys of metrics.json about scenes.

    Args:
        data: the dataset.
        ensemble: the networks of one seed, with the rows that each scores.
        predicted: predicted class numbers of all scored rows, (seeds, m).
        metadata: config.json of the run.

    Returns:
        `per_scene` and `per_scene_kind` where the utterances have scenes; `script_floor`; `label_inertia`.
    """
    rows = ensemble.rows.numpy()
    labels, classes = data.labels.numpy()[rows], len(data.classes)
    scenes = [data.utterances[row].scene for row in rows]
    result: dict[str, Any] = {}
    if any(scenes):
        result["per_scene"] = group_scores(labels, predicted, [scene or "unknown" for scene in scenes], classes)
    kinds = np.array([scene_kind(scene) for scene in scenes], object)
    scores = group_scores(labels, predicted, kinds.tolist(), classes)
    if by_kind := {kind: scores[kind] for kind in KINDS.values() if kind in scores}:
        result["per_scene_kind"] = by_kind
    return {
        **result,
        "script_floor": _script_floor(data, ensemble, metadata),
        "label_inertia": label_inertia(data),
    }


def _script_floor(data: Dataset, ensemble: SeedEnsemble, metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """The script floor, whose votes are those of the utterances that the network of each row may be trained on."""
    parts = [
        (training_mask(member, data, metadata, dev=True).nonzero().squeeze(1).numpy(), rows.numpy())
        for member, rows in ensemble.members
        if len(rows)
    ]
    complete = all(len(train) for train, _ in parts) and not len(ensemble.unseen_groups)
    floor = script_floor_of(data, parts if complete else [])
    if floor is None or complete:
        return floor_json(data, floor, ensemble.rows.numpy())
    return {"levels": {}, "note": OTHER_GROUPS if len(ensemble.unseen_groups) else NO_TRAINING}
