"""Development sets that are taken from the training set of fixed folds."""

import pytest

from foal.shared.errors import TrainingError
from foal.tests.train.data.test_protocol import corpus, parts_of
from foal.train.data.protocol import build_cross_validation


def test_a_development_set_is_taken_from_the_training_set_by_speakers() -> None:
    utterances = corpus(
        120, speaker=[f"s{i % 24}" for i in range(120)], fold=["test" if i % 24 < 4 else "Train" for i in range(120)]
    )
    speakers = [f"test/{u.speaker}" for u in utterances]
    cv = build_cross_validation(utterances, None, speakers, dev_from_train=0.15)
    (fold,) = cv.folds
    train, dev, test = parts_of(fold)
    assert test == {i for i in range(120) if i % 24 < 4}
    assert (len(dev), len(train)) == (15, 85)
    assert not {utterances[row].speaker for row in dev} & {utterances[row].speaker for row in train}
    assert cv.notes == (
        "development set taken from the training set: 15 of 100 utterances (3 of 20 speakers), 15% (wanted: 15%, "
        "seed: 0)",
    )
    assert build_cross_validation(utterances, None, speakers, dev_from_train=0.15).groups == cv.groups


def test_a_development_set_of_unknown_speakers_is_one_of_utterances() -> None:
    utterances = corpus(50, fold=["test" if i % 5 == 0 else "train" for i in range(50)])
    cv = build_cross_validation(utterances, None, [f"test//{u.id}" for u in utterances], dev_from_train=0.25)
    assert len(cv.folds[0].dev_rows) == 10
    assert "10 of 40 utterances, whose speakers are unknown, 25%" in cv.notes[0]


@pytest.mark.parametrize("folds", [("train", "dev", "test"), ("a", "b", "c")])
def test_a_development_set_is_not_taken_where_there_is_one(folds: tuple[str, str, str]) -> None:
    utterances = corpus(6, fold=folds * 2)
    with pytest.raises(TrainingError, match=r"--dev-from-train .* leave it out"):
        build_cross_validation(utterances, None, [""] * 6, dev_from_train=0.15)


def test_a_single_training_speaker_cannot_be_divided() -> None:
    utterances = corpus(6, speaker=["a", "b"] * 3, fold=["train", "test"] * 3)
    with pytest.raises(TrainingError, match="at least two speakers in the training set, got only test/a"):
        build_cross_validation(utterances, None, [f"test/{u.speaker}" for u in utterances], dev_from_train=0.15)
