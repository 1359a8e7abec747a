from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.errors import TrainingError
from foal.shared.utterance import Utterance
from foal.tests.train.folds.scene_corpus import SCENES, scene_corpus
from foal.train.data.protocol import CrossValidation, build_cross_validation
from foal.train.folds.scenes import group_scenes


def blocks_of(utterances: list[Utterance], scene_groups: int | None = None) -> CrossValidation:
    speakers = [f"{u.corpus}/{u.speaker}" for u in utterances]
    return build_cross_validation(utterances, "loso-scenes-nested", speakers, scene_groups=scene_groups)


def check_blocks(cv: CrossValidation, utterances: list[Utterance]) -> None:
    """No part shares a session or a scene with the test block, and neither do training and development."""
    group_of = {scene: name for name, scenes in cv.scene_groups.items() for scene in scenes}
    for fold in cv.folds:
        (session,) = {utterances[row].session for row in fold.test_rows}
        (group,) = {group_of[utterances[row].scene] for row in fold.test_rows}
        assert fold.test == f"{session} {group}"
        allowed = {
            row for row, u in enumerate(utterances) if u.session != session and u.scene not in cv.scene_groups[group]
        }
        assert set(fold.refit_rows.tolist()) == allowed
        assert len(fold.refit_rows) == len(allowed)
        train, dev = ([utterances[row] for row in rows] for rows in (fold.train_rows, fold.dev_rows))
        assert train
        assert dev
        assert not {u.session for u in train} & {u.session for u in dev}
        assert not {u.scene for u in train} & {u.scene for u in dev}
    assert cv.tested.tolist() == list(range(len(utterances)))
    assert [fold.number for fold in cv.folds] == list(range(1, len(cv.folds) + 1))


def test_a_block_is_a_session_and_a_scene() -> None:
    utterances = scene_corpus(missing=[(2, "impro02")])
    cv = blocks_of(utterances)
    check_blocks(cv, utterances)
    assert cv.kind == "block"
    assert len(cv.folds) == 4 * 6 - 1
    assert (cv.folds[0].test, cv.folds[0].dev) == ("session1 impro01", "session2 impro02+script02")
    assert (cv.folds[7].test, cv.folds[7].dev) == ("session2 impro10", "session3 script01+impro01")
    assert cv.notes == (
        "loso-scenes-nested: 23 test blocks of a session and 6 scenes; trained on 84 to 90 utterances of other "
        "sessions and other scenes",
    )


@given(
    sessions=st.integers(3, 5),
    scenes=st.integers(3, 6),
    groups=st.integers(3, 6) | st.none(),
    missing=st.lists(st.tuples(st.integers(1, 5), st.sampled_from(SCENES)), max_size=4),
)
def test_no_block_shares_a_session_or_a_scene_with_its_training(
    sessions: int, scenes: int, groups: int | None, missing: list[tuple[int, str]]
) -> None:
    utterances = scene_corpus(sessions, SCENES[:scenes], turns=2, missing=missing)
    try:
        cv = blocks_of(utterances, groups)
    except TrainingError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    check_blocks(cv, utterances)


def test_scene_groups_are_balanced_and_deterministic() -> None:
    scenes = ["a"] * 50 + ["b"] * 20 + ["c"] * 20 + ["d"] * 15 + ["e"] * 10
    assert group_scenes(scenes, 3) == {"a": ("a",), "b+d": ("b", "d"), "c+e": ("c", "e")}
    assert group_scenes(scenes[::-1], 3) == group_scenes(scenes, 3)
    assert list(group_scenes(["x10", "x2", "x1"], None)) == ["x1", "x2", "x10"]
    utterances = scene_corpus(5)
    cv = blocks_of(utterances, 3)
    check_blocks(cv, utterances)
    assert len(cv.folds) == 15
    assert "6 scenes in 3 groups" in cv.notes[0]
    assert cv.digest != blocks_of(utterances).digest
    assert cv.digest == blocks_of(list(utterances), 3).digest


@pytest.mark.parametrize(
    ("utterances", "groups", "message"),
    [
        (
            [*scene_corpus(), replace(scene_corpus()[0], id="x", scene="")],
            None,
            r"needs the column scene of every utterance, but it is empty for 1 of 145, such as 'x'; fill it in",
        ),
        ([replace(u, session="") for u in scene_corpus()], None, r"needs the column session .* 144 of 144"),
        (scene_corpus(2), None, r"at least three sessions .* got 2: session1, session2; choose another"),
        (scene_corpus(3, SCENES[:2]), None, r"at least three scenes.* got 2: impro01, impro02"),
        (scene_corpus(3, SCENES[:4]), 5, r"as many as groups for 5 groups \(--scene-groups\), got 4"),
        (
            [replace(u, scene="impro01" if u.id.endswith("F000") else u.scene) for u in scene_corpus()],
            None,
            r"dialog 'Ses1_impro02' is in the folds 'session1 impro01' and 'session1 impro02' of the protocol",
        ),
        (
            [replace(u, scene=f"{u.session}-{u.scene}") for u in scene_corpus(3)],
            None,
            None,
        ),
        (
            [u for u in scene_corpus(3, SCENES[:3]) if u.session == "session3" or u.scene == "impro01"],
            None,
            r"test block session1 impro01: expected utterances of other sessions and other scenes .* got 12; sessions",
        ),
    ],
)
def test_blocks_that_cannot_be_built_are_refused(
    utterances: list[Utterance], groups: int | None, message: str | None
) -> None:
    if message is None:
        check_blocks(blocks_of(utterances, groups), utterances)
        return
    with pytest.raises(TrainingError, match=message) as caught:
        blocks_of(utterances, groups)
    assert "\n" not in str(caught.value)


def test_keys_of_other_protocols_are_refused() -> None:
    utterances = scene_corpus()
    with pytest.raises(TrainingError, match=r"--scene-groups .* but the protocol is loso-nested; leave it out"):
        build_cross_validation(utterances, "loso-nested", [""] * len(utterances), scene_groups=3)
    with pytest.raises(TrainingError, match=r"--dev-from-train .* but loso-scenes-nested has a development set"):
        build_cross_validation(utterances, "loso-scenes-nested", [""] * len(utterances), dev_from_train=0.1)


def test_other_protocols_train_on_training_and_development_rows_after_the_choice() -> None:
    utterances = scene_corpus()
    for fold in build_cross_validation(utterances, "loso-nested", [""] * len(utterances)).folds:
        assert torch.equal(fold.refit_rows, torch.cat([fold.train_rows, fold.dev_rows]))
