"""Which networks of a run over blocks may score an utterance, and which were trained on it."""

from dataclasses import replace
from typing import Any

from foal.tests.train.folds.scene_corpus import scene_corpus
from foal.train.data.protocol import build_cross_validation
from foal.train.folds.groups import Blocks, group_of

UTTERANCES = scene_corpus(3)
FOLDS = build_cross_validation(UTTERANCES, "loso-scenes-nested", [""] * len(UTTERANCES), scene_groups=3)
GROUPS = {"sessions": ["session1", "session2", "session3"], "scene_groups": FOLDS.scene_groups}
TESTS = [fold.test for fold in FOLDS.folds]


def test_an_utterance_of_the_run_is_scored_by_the_network_of_its_block_alone() -> None:
    blocks = Blocks(GROUPS)
    for utterance, group in zip(UTTERANCES, FOLDS.groups, strict=True):
        assert [test for test in TESTS if blocks.is_unseen(utterance, test)] == [group]
        assert group_of(utterance, "block", "", FOLDS.groups, FOLDS.scene_groups) == group


def test_training_rows_are_those_of_the_folds() -> None:
    blocks = Blocks(GROUPS)
    for fold in FOLDS.folds:
        for excluded, rows in (([fold.test], fold.refit_rows), ([fold.test, fold.dev], fold.train_rows)):
            found = [row for row, u in enumerate(UTTERANCES) if blocks.is_training(u, *excluded)]
            assert found == sorted(rows.tolist())


def test_a_new_session_or_scene_is_scored_by_what_has_not_seen_the_other() -> None:
    blocks = Blocks(GROUPS)
    known = UTTERANCES[0]  # session1, impro01
    own = next(name for name, scenes in FOLDS.scene_groups.items() if known.scene in scenes)

    def scored_by(**changes: Any) -> list[str]:
        return [test for test in TESTS if blocks.is_unseen(replace(known, **changes), test)]

    assert scored_by(session="session9") == [f"session{k} {own}" for k in (1, 2, 3)]
    assert scored_by(scene="new") == [f"session1 {name}" for name in FOLDS.scene_groups]
    assert scored_by(session="session9", scene="new") == TESTS
    assert scored_by(scene="") == scored_by(session="") == []
    assert not any(blocks.is_training(replace(known, session="session9"), test) for test in TESTS)
    assert group_of(replace(known, scene=""), "block", "", FOLDS.groups, FOLDS.scene_groups) == ""
    assert group_of(replace(known, scene="new"), "block", "", FOLDS.groups, FOLDS.scene_groups) == "session1 new"
