"""Spellings of labels, and labels that are no classes."""

import pytest

from foal.shared.folds import fold_role
from foal.shared.labels import canonical, common_spellings, label_question, spelling_problems


def test_case_spaces_and_unicode_form_make_no_other_label() -> None:
    assert canonical(" Very  Sad") == canonical("very sad ") == "very sad"
    assert canonical("Jose\u0301") == canonical("jos\u00e9")


def test_the_most_frequent_spelling_is_kept() -> None:
    labels = ["Happy", "Happy", "happy", "Sad ", "Sad ", "sad", ""]
    assert common_spellings(labels) == {"Happy": "Happy", "happy": "Happy", "Sad ": "Sad", "sad": "Sad", "": ""}
    assert spelling_problems(labels) == ["'Happy' 2, 'happy' 1", "'Sad ' 2, 'sad' 1"]
    assert spelling_problems(["Happy", "sad", ""]) == []


@pytest.mark.parametrize(
    ("counts", "question"),
    [
        ({"joy": 4, "fear": 2}, ""),
        ({"joy": 1, "fear": 1}, ""),
        ({"-1.5": 3, "0.25": 40}, "the labels are numbers"),
        ({"0": 50, "1": 50}, "the labels are numbers"),
        ({"1": 50, "joy": 50}, ""),
        ({f"clip {n}": 1 for n in range(9)}, "9 different labels for 9 utterances"),
    ],
)
def test_numbers_and_as_many_labels_as_utterances_are_a_question(counts: dict[str, int], question: str) -> None:
    assert label_question(counts).startswith(question)
    assert bool(label_question(counts)) == bool(question)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *((name, "train") for name in ("Train", "training", "train-set")),
        *((name, "dev") for name in ("VALID", "validation", "val_set", "devel", "dev")),
        *((name, "test") for name in (" test ", "Testset", "TESTING")),
        *((name, None) for name in ("eval", "fold1", "", "set")),
    ],
)
def test_sets_are_recognized_in_common_spellings(name: str, role: str | None) -> None:
    assert fold_role(name) == role
