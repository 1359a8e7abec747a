import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.errors import TrainingError
from foal.train.protocol import check_classes, loso_nested, natural_key, speakers_in_several


@given(st.lists(st.sampled_from([f"session{k}" for k in range(1, 12)]), min_size=3, max_size=60))
def test_folds_are_disjoint_and_rotate(groups: list[str]) -> None:
    names = sorted(set(groups), key=natural_key)
    if len(names) < 3:
        with pytest.raises(TrainingError, match=f"at least three sessions or folds .* got {len(names)}"):
            loso_nested(groups)
        return
    folds = loso_nested(groups)
    assert [fold.number for fold in folds] == list(range(1, len(names) + 1))
    assert [fold.test for fold in folds] == names
    assert [fold.dev for fold in folds] == [*names[1:], names[0]]
    for fold in folds:
        test, dev, train = (set(rows.tolist()) for rows in (fold.test_rows, fold.dev_rows, fold.train_rows))
        assert test | dev | train == set(range(len(groups)))
        assert not test & dev
        assert not test & train
        assert not dev & train
        assert {groups[row] for row in test} == {fold.test}
        assert {groups[row] for row in dev} == {fold.dev}
    tested = torch.cat([fold.test_rows for fold in folds])
    assert sorted(tested.tolist()) == list(range(len(groups)))


def test_groups_are_in_natural_order() -> None:
    groups = ["session10", "session2", "session1", "10", "9"]
    assert [fold.test for fold in loso_nested(groups)] == ["9", "10", "session1", "session2", "session10"]


def test_a_class_nobody_can_learn_is_named() -> None:
    groups, labels = ["s1", "s1", "s2", "s2", "s3", "s3"], torch.tensor([0, 1, 0, 1, 0, 0])
    with pytest.raises(TrainingError, match=r"fold 1 \(test s1, development s2\): .* got none of sad"):
        check_classes(loso_nested(groups), labels, ("hap", "sad"))
    # Missing from a development or test group is no reason to stop.
    groups, labels = [*groups, "s4", "s4"], torch.tensor([0, 1, 0, 1, 0, 0, 0, 1])
    check_classes(loso_nested(groups), labels, ("hap", "sad"))


def test_speakers_in_several_groups_are_found() -> None:
    assert speakers_in_several(["1", "1", "2", "3"], ["a", "b", "b", "c"]) == ["b"]
