"""The script floor on a label table of IEMOCAP's structure, whose expected accuracy is known."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from foal.shared.utterance import Utterance
from foal.tests.train.floor.iemocap_like import CLASSES, LabelTable, label_table
from foal.train.data.dataset import Dataset
from foal.train.data.features import InMemory
from foal.train.data.protocol import CrossValidation, build_cross_validation
from foal.train.floor.folds import floor_json, scene_kind, script_floor

SAMPLING = 0.015
"""Two standard errors of an accuracy over the 6,000 labelled turns of a table."""
BOUNDARIES = 0.03
"""What the vote loses to a predictor that has the curves: near the boundaries of segments it sees both sides."""


@cache
def table(seed: int = 0) -> LabelTable:
    return label_table(seed)


def dataset(turns: Sequence[Utterance], *, context: bool = True) -> Dataset:
    labelled = [turn for turn in turns if turn.label]
    return Dataset(
        utterances=tuple(labelled),
        classes=CLASSES,
        labels=torch.tensor([CLASSES.index(turn.label) for turn in labelled]),
        features=InMemory({}),
        rates={},
        stream_names={},
        provenance={},
        every=tuple(turns) if context else (),
    )


def folds_of(data: Dataset, protocol: str, scene_groups: int | None = None) -> CrossValidation:
    return build_cross_validation(data.utterances, protocol, data.speakers, scene_groups=scene_groups)  # type: ignore[arg-type]


def accuracies(data: Dataset, folds: CrossValidation) -> dict[str, float]:
    values = floor_json(data, script_floor(data, folds), folds.tested.numpy())
    assert values is not None
    return {level: scores["wa"] for level, scores in values["levels"].items()}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_floor_reaches_what_the_curves_allow(seed: int) -> None:
    data = dataset(table(seed).turns)
    found = accuracies(data, folds_of(data, "loso-nested"))
    expected = table(seed).expected
    assert found["scenario"] == pytest.approx(expected["scenario"], abs=SAMPLING)
    assert found["role"] == pytest.approx(expected["role"], abs=SAMPLING)
    assert expected["time"] - BOUNDARIES < found["time"] < expected["time"] + SAMPLING
    assert found["time"] > found["role"] + 0.25
    assert found["role"] > found["scenario"]


@pytest.mark.parametrize("scene_groups", [None, 3])
def test_the_floor_falls_to_chance_without_the_scenes(scene_groups: int | None) -> None:
    data = dataset(table().turns)
    folds = folds_of(data, "loso-scenes-nested", scene_groups)
    assert len(folds.folds) == (55 if scene_groups is None else 15)
    assert max(accuracies(data, folds).values()) < 1 / len(CLASSES) + SAMPLING
    floor = script_floor(data, folds)
    assert floor is not None
    assert floor.covered == 0
    assert set(floor.bandwidths) == {None}


def test_turns_without_a_label_show_how_long_a_dialog_is() -> None:
    turns = table().turns
    with_context, without = dataset(turns), dataset(turns, context=False)
    folds = folds_of(with_context, "loso-nested")
    floor, other = script_floor(with_context, folds), script_floor(without, folds)
    assert floor is not None
    assert other is not None
    assert (floor.context, other.context) == (True, False)
    assert np.array_equal(floor.predicted["role"], other.predicted["role"])
    assert not np.array_equal(floor.predicted["time"], other.predicted["time"])
    # The tempo of a performance is not known without the length: seconds alone predict less.
    seconds = [replace(turn, dialog="one", id=f"{turn.id}-{turn.dialog}") for turn in turns]
    assert accuracies(with_context, folds)["time"] > accuracies(dataset(seconds), folds)["time"] + 0.05


def test_the_test_session_of_erc_split_has_the_floor_of_its_training_sessions() -> None:
    data = dataset(table().turns)
    folds = folds_of(data, "erc-split")
    assert accuracies(data, folds)["time"] == pytest.approx(table().expected["time"], abs=0.04)
    floor = script_floor(data, folds)
    assert floor is not None
    assert floor.covered == 1
    untested = np.setdiff1d(np.arange(len(data)), folds.tested.numpy())
    assert set(floor.predicted["time"][untested]) == {-1}


def test_levels_need_their_columns() -> None:
    turns = [turn for turn in table().turns if turn.session != "session1"]
    for columns, levels in (
        ({"start": None, "end": None}, ["scenario", "role"]),
        ({"gender": "", "speaker": ""}, ["scenario"]),
        ({"gender": ""}, ["scenario", "role", "time"]),
    ):
        data = dataset([replace(turn, **columns) for turn in turns])  # type: ignore[arg-type]
        assert list(accuracies(data, folds_of(data, "loso-nested"))) == levels


def test_scores_are_split_by_the_kind_of_scene() -> None:
    data = dataset(table().turns)
    folds = folds_of(data, "loso-nested")
    values = floor_json(data, script_floor(data, folds), folds.tested.numpy())
    assert values is not None
    scores = values["levels"]["time"]
    assert scores["scripted"]["n"] + scores["improvised"]["n"] == scores["n"] == len(data)
    assert np.array_equal(
        np.add(scores["scripted"]["confusion"], scores["improvised"]["confusion"]), scores["confusion"]
    )
    assert (scene_kind("Script01"), scene_kind("impro1"), scene_kind("kitchen")) == ("scripted", "improvised", "")


def test_without_scenes_there_is_no_floor_and_for_iemocap_a_note() -> None:
    turns = [replace(turn, scene="", corpus="iemocap") for turn in table().turns]
    data = dataset(turns)
    folds = folds_of(data, "loso-nested")
    values = floor_json(data, script_floor(data, folds), folds.tested.numpy())
    assert values is not None
    assert values["levels"] == {}
    assert "write the manifest again with `foal manifest iemocap --context`" in values["note"]
    other = dataset([replace(turn, corpus="other") for turn in turns])
    assert floor_json(other, script_floor(other, folds), folds.tested.numpy()) is None
