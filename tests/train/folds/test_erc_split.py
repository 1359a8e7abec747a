from dataclasses import replace

import pytest

from foal.shared.errors import TrainingError
from foal.shared.utterance import Utterance
from foal.tests.train.folds.scene_corpus import scene_corpus
from foal.train.data.protocol import CrossValidation, build_cross_validation


def split_of(utterances: list[Utterance]) -> CrossValidation:
    return build_cross_validation(utterances, "erc-split", [f"{u.corpus}/{u.speaker}" for u in utterances])


def test_the_last_session_is_tested_and_whole_dialogs_choose_the_epoch() -> None:
    utterances = scene_corpus(5)
    cv = split_of(utterances)
    (fold,) = cv.folds
    assert (fold.test, fold.dev, cv.kind) == ("session5", "2 dialogs", "session")
    train, dev, test = ([utterances[row] for row in rows] for rows in (fold.train_rows, fold.dev_rows, fold.test_rows))
    assert len(train) + len(dev) + len(test) == len(utterances)
    assert {u.session for u in test} == {"session5"}
    assert len({u.dialog for u in dev}) == 2  # 10% of 24
    assert not {u.dialog for u in train} & {u.dialog for u in dev}
    assert cv.tested.tolist() == sorted(fold.test_rows.tolist())
    assert cv.notes == (
        "erc-split: session5 is tested; 2 of 24 dialogs of the other sessions choose the epoch (seed 0), and their "
        "speakers are in the training set, too",
    )
    again = split_of(utterances[::-1])
    assert {utterances[::-1][row].dialog for row in again.folds[0].dev_rows} == {u.dialog for u in dev}


@pytest.mark.parametrize(
    ("utterances", "message"),
    [
        ([replace(u, dialog="") for u in scene_corpus()], r"erc-split needs the column dialog .* 144 of 144"),
        (scene_corpus(1), "at least two sessions .* got only session1"),
        (scene_corpus(2, ("impro01",)), r"at least two dialogs in the sessions session1 .* got 1"),
        (
            [replace(u, dialog="one") for u in scene_corpus()],
            "dialog 'one' is in the folds 'session1' and 'session2' of the protocol erc-split, but a dialog must",
        ),
    ],
)
def test_splits_that_cannot_be_built_are_refused(utterances: list[Utterance], message: str) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        split_of(utterances)
    assert "\n" not in str(caught.value)
