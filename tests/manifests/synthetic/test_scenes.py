"""Scenes of the synthetic corpus: names, balance, and what a session takes from them."""

import re
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foal.manifests.synthetic.scenes import CLASSES, GENDERS, cast_scenes, plan_scenes, scene_name

NAME = re.compile(r"impro\d{2}|script\d{2}_[123]")


def test_names_are_unique_and_like_those_of_iemocap() -> None:
    names = [scene_name(index) for index in range(150)]
    assert len(set(names)) == 150
    assert all(NAME.fullmatch(name) for name in names)
    assert names[:8] == [
        "impro01", "script01_1", "script02_1", "impro02", "impro03", "script03_1", "script01_2", "impro04",
    ]  # fmt: skip


@given(count=st.integers(2, 20), turns=st.integers(1, 30), seed=st.integers(0, 1000))
def test_at_each_place_the_classes_are_balanced_over_the_scenes(count: int, turns: int, seed: int) -> None:
    scenes = plan_scenes(count, turns, seed)
    for gender in GENDERS:
        for turn in range(turns):
            counts = Counter(scene.emotions[gender][turn] for scene in scenes)
            assert max(counts.values()) - min(counts[name] for name in CLASSES) <= 1
        assert all(len(scene.sentences[gender]) == turns for scene in scenes)
    assert [scene.scripted for scene in scenes] == [scene.name.startswith("script") for scene in scenes]


@given(
    emotions=st.lists(st.sampled_from([*CLASSES, "exc", "fru", "xxx"]), min_size=2, max_size=30), seed=st.integers(0, 9)
)
def test_a_session_plays_all_its_emotions(emotions: list[str], seed: int) -> None:
    scenes = plan_scenes(4, 30, 1)
    parts = cast_scenes(scenes, "F", emotions, np.random.default_rng(seed))
    assert sorted(emotion for part in parts for emotion in part) == sorted(emotions)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert emotions == list(emotions), "the given list stays as it is"


def test_scripts_are_followed_more_often_than_topics() -> None:
    scenes = plan_scenes(8, 60, 2)
    followed: dict[bool, list[bool]] = {True: [], False: []}
    for seed in range(20):
        parts = cast_scenes(scenes, "M", CLASSES * 20, np.random.default_rng(seed))
        for scene, part in zip(scenes, parts, strict=True):
            followed[scene.scripted] += [
                emotion == wanted for emotion, wanted in zip(part, scene.emotions["M"], strict=False)
            ]
    script, topic = (np.mean(followed[scripted]) for scripted in (True, False))
    assert 0.55 < script < 0.8
    assert 0.35 < topic < script - 0.1
