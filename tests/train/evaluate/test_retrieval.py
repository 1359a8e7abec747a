"""Cross-modal retrieval with the networks of a run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from foal.train.data.dataset import Dataset
from foal.train.data.pooled import pooled_features
from foal.train.evaluate.ensemble import FoldModel, assign_models
from foal.train.evaluate.retrieval import retrieval_scores
from foal.train.model.foalnet import FoalNet

CPU = torch.device("cpu")
SESSIONS = ("session1", "session2", "session3")
METADATA: dict[str, Any] = {
    "groups": {"kind": "session", "names": list(SESSIONS), "corpora": ["test"]},
    "settings": {"refit": False},
    "fold_groups": [
        {"fold": number, "dev": SESSIONS[number % 3], "test": SESSIONS[number - 1]} for number in (1, 2, 3)
    ],
}
Make = Callable[..., Dataset]
MakeModel = Callable[..., FoalNet]


def scores_of(data: Dataset, model: FoalNet, *, sessions: tuple[str, ...] = SESSIONS) -> dict[str, dict[str, float]]:
    models = [
        FoldModel(model=model, metadata=METADATA, seed=0, fold=SESSIONS.index(test) + 1, test=test) for test in sessions
    ]
    return retrieval_scores(lambda _: data, assign_models(models, data, torch.arange(len(data))), CPU, METADATA)


def test_both_spaces_are_scored_in_both_directions(make_dataset: Make, make_model: MakeModel) -> None:
    data = make_dataset(60)
    scores = scores_of(data, make_model(data))
    assert list(scores) == [
        f"{space}: {direction}" for space in ("avel", "raw") for direction in ("audio to face", "face to audio")
    ]
    for values in scores.values():
        assert list(values) == ["map", "r1", "chance", "queries", "available"]
        assert all(0 <= values[key] <= 1 for key in ("map", "r1", "chance"))
        assert values["queries"] == values["available"] > 0


def test_the_scores_of_networks_are_weighted_by_utterances(make_dataset: Make, make_model: MakeModel) -> None:
    sessions = [SESSIONS[0 if i < 30 else 1 if i < 45 else 2] for i in range(60)]
    data = make_dataset(60, sessions=sessions)
    model = make_model(data)
    complete = np.isfinite(np.concatenate(list(pooled_features(data).values()), axis=1)).all(axis=1)
    counts = [int(complete[np.array(sessions) == session].sum()) for session in SESSIONS]
    assert len(set(counts)) > 1
    name = "avel: audio to face"
    single = [scores_of(data, model, sessions=(session,))[name]["map"] for session in SESSIONS]
    assert scores_of(data, model)[name]["map"] == pytest.approx(np.average(single, weights=counts))


def test_without_training_utterances_raw_scores_are_absent(make_dataset: Make, make_model: MakeModel) -> None:
    data = make_dataset(24, sessions=["session1"] * 24)
    model = make_model(data)
    assert list(scores_of(data, model, sessions=("session1",))) == ["avel: audio to face", "avel: face to audio"]


@pytest.mark.parametrize("modality", ["audio", "face"])
def test_utterances_without_a_modality_are_excluded(
    make_dataset: Make, make_model: MakeModel, make_stream: Callable[..., Any], modality: str
) -> None:
    widths = {"audio": 5, "face": 4}
    streams = {}
    for name, width in widths.items():
        frames = [torch.ones(2, width) for _ in range(6)]
        streams[name] = make_stream(frames, [torch.full((2,), name != modality) for _ in range(6)])
    data = make_dataset(6, streams=streams)
    assert scores_of(data, make_model(data)) == {}
