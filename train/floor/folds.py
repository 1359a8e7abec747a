"""The script floor under a protocol: what scene, role and time predict in its folds, without any media."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.dataset import Dataset
from ..data.protocol import CrossValidation
from ..metrics.classification import Counts, confusion, macro_f1, unweighted_accuracy, weighted_accuracy
from .positions import KINDS, positions_of
from .vote import LEVELS, Level, Rows, choose_bandwidth, vote


@dataclass(frozen=True, kw_only=True)
class ScriptFloor:
    """Predictions of the script predictor.

    Attributes:
        predicted: class numbers by level, (n,); -1 for utterances that no fold tests.
        bandwidths: chosen bandwidth of each fold; None where no tested turn has a training turn of its scene and role.
        covered: share of the tested utterances whose scene is in their training part.
        context: whether the lengths of dialogs come from turns without a label as well.
    """

    predicted: Mapping[Level, NDArray[np.int64]]
    bandwidths: tuple[float | None, ...]
    covered: float
    context: bool


Parts = Sequence[tuple[Rows, Rows]]
"""Training and tested rows of each fold."""


def script_floor(data: Dataset, folds: CrossValidation) -> ScriptFloor | None:
    """The script floor in the folds of a protocol; None if no utterance has a scene.

    A fold's predictor reads the labels that the network may be trained on: those of the training and the development
    group (of the training group, if the development group is the test group).
    """
    return script_floor_of(
        data,
        [
            ((fold.train_rows if fold.dev_is_test else fold.refit_rows).sort().values.numpy(), fold.test_rows.numpy())
            for fold in folds.folds
        ],
    )


def script_floor_of(data: Dataset, parts: Parts) -> ScriptFloor | None:
    """The script floor for the training and tested rows of each fold; None if no utterance has a scene."""
    positions = positions_of(data.utterances, data.every)
    if not positions.has_scenes:
        return None
    available = (positions.has_scenes, positions.has_roles, positions.has_times)
    levels = [level for level, possible in zip(LEVELS, available, strict=True) if possible]
    labels = data.labels.numpy()
    groups = _groups(data)
    predicted: dict[Level, NDArray[np.int64]] = {level: np.full(len(data), -1, np.int64) for level in levels}
    bandwidths: list[float | None] = []
    covered = 0
    for train, test in parts:
        known = np.isin(positions.scenes[test], positions.scenes[train]) & (positions.scenes[test] >= 0)
        covered += int(known.sum())
        chosen = None
        if "time" in levels and known.any():
            chosen = choose_bandwidth(positions, labels, len(data.classes), train=train, groups=groups)
        bandwidths.append(chosen)
        for level in levels:
            own = (chosen,) if chosen is not None else (1.0,)
            predicted[level][test] = vote(
                positions, labels, len(data.classes), train=train, test=test, level=level, bandwidths=own
            )[0]
    tested = sum(len(test) for _, test in parts)
    return ScriptFloor(
        predicted=predicted,
        bandwidths=tuple(bandwidths),
        covered=covered / max(tested, 1),
        context=any(not utterance.label for utterance in data.every),
    )


def floor_json(data: Dataset, floor: ScriptFloor | None, rows: NDArray[np.int64]) -> dict[str, Any] | None:
    """The script floor as in metrics.json: scores by level on the tested rows, all and by kind of scene.

    Without a scene None, but for IEMOCAP, whose manifests can have them, a note.
    """
    if floor is None:
        known = any("iemocap" in utterance.corpus.casefold() for utterance in data.utterances)
        return {"levels": {}, "note": NO_SCENES} if known else None
    labels, classes = data.labels.numpy(), len(data.classes)
    kinds = np.array([scene_kind(data.utterances[row].scene) for row in rows], object)
    return {
        "levels": {
            level: {
                **_scores(labels[rows], predicted[rows], classes),
                **{
                    kind: _scores(labels[rows[kinds == kind]], predicted[rows[kinds == kind]], classes)
                    for kind in KINDS.values()
                    if (kinds == kind).any()
                },
            }
            for level, predicted in floor.predicted.items()
        },
        "bandwidths": list(floor.bandwidths),
        "covered": floor.covered,
        "context": floor.context,
        "note": None,
    }


NO_SCENES = (
    "unknown, because the column scene is empty in these features; write the manifest again with `foal manifest "
    "iemocap --context`, and run `foal index`"
)


def scene_kind(scene: str) -> str:
    """The kind, scripted or improvised, if the name of the scene begins with script or impro; else empty."""
    return next((kind for beginning, kind in KINDS.items() if scene.casefold().startswith(beginning)), "")


def _scores(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> dict[str, Any]:
    counts: Counts = confusion(labels, predicted, classes)
    return {
        "ua": float(unweighted_accuracy(counts)),
        "wa": float(weighted_accuracy(counts)),
        "f1": float(macro_f1(counts)),
        "n": len(labels),
        "confusion": counts.tolist(),
    }


def _groups(data: Dataset) -> NDArray[np.int64]:
    """Number of the session of each utterance, (n,); of its dialog, if all are of one session."""
    names = [utterance.session for utterance in data.utterances]
    if len(set(names)) < 2:
        names = [utterance.dialog or utterance.id for utterance in data.utterances]
    return np.unique(np.asarray(names, object), return_inverse=True)[1].astype(np.int64)
