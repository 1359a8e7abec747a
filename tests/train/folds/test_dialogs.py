"""The dialogs of utterances, and the order of their turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError
from foal.shared.utterance import Utterance
from foal.tests.train.folds.scene_corpus import context_turn, scene_corpus
from foal.train.data.protocol import cross_validation_of
from foal.train.data.speakers import speaker_key
from foal.train.folds.dialogs import context_rows, speaker_numbers, turns_by_dialog


def turn(name: str, start: float | None = None, number: int | None = None, dialog: str = "d") -> Utterance:
    return Utterance(id=name, corpus="c", dialog=dialog, start=start, turn=number)


def names(turns: list[Utterance]) -> list[list[str]]:
    return [[turns[row].id for row in rows] for rows in turns_by_dialog(turns)]


def test_turns_are_ordered_by_start_else_by_turn() -> None:
    assert names([turn("b", 2.0, 0), turn("a", 1.0, 1)]) == [["a", "b"]]
    assert names([turn("b", None, 1), turn("a", 5.0, 0)]) == [["a", "b"]]
    assert names([turn("b", 0.0, 1), turn("a", 0.0, 0)]) == [["a", "b"]]  # files of one turn each
    assert names([turn("b", 1.0), turn("c", 0.0, 0, "e"), turn("a", 0.5)]) == [["a", "b"], ["c"]]


@given(st.permutations(range(8)))
def test_the_order_of_the_rows_does_not_matter(order: list[int]) -> None:
    turns = [turn(f"t{number}", 1.5 * number, dialog="de"[number % 2]) for number in order]
    assert sorted(names(turns)) == [["t0", "t2", "t4", "t6"], ["t1", "t3", "t5", "t7"]]


def test_dialogs_of_the_same_name_in_other_corpora_are_others() -> None:
    assert names([turn("a", 0.0), Utterance(id="b", corpus="other", dialog="d", start=0.0)]) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([turn("a", 1.0), turn("b", 1.0)], "the order of the utterances 'a' and 'b' is unknown, because their start"),
        ([turn("a", None, 3), turn("b", None, 3)], "'a' and 'b' is unknown, because their turn is the same"),
        ([turn("a", 1.0, 0), turn("b")], "utterance 'b' has no turn, and 'b' no start"),
        ([turn("a", 1.0), turn("b", None, 0)], "utterance 'a' has no turn, and 'b' no start"),
        ([turn("a", 1.0), turn("b", 2.0, dialog="")], "the column dialog .* empty for 1 of 2, such as 'b'"),
    ],
)
def test_an_unknown_order_is_refused_with_the_utterance(turns: list[Utterance], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        turns_by_dialog(turns)


def test_speakers_are_numbered_by_appearance_and_an_unknown_one_is_zero() -> None:
    speakers = ["b", "a", "", "b", "c", "a", ""]
    turns = [Utterance(id=str(number), speaker=speaker) for number, speaker in enumerate(speakers)]
    assert speaker_numbers(turns) == [0, 1, 0, 0, 2, 1, 0]
    assert [speaker_numbers(turns[:count])[-1] for count in range(1, 8)] == speaker_numbers(turns)
    assert speaker_numbers([Utterance(id="a"), Utterance(id="b")]) == [0, 0]


def test_context_is_of_the_same_dialogs_only() -> None:
    every = [turn("a", 0.0), turn("b", 1.0), turn("c", 0.0, dialog="e"), turn("d", 0.0, dialog="")]
    assert context_rows(every, [1]) == [0]
    assert context_rows(every, [3]) == []
    assert context_rows(every, [0, 1, 2]) == []


def test_a_dialog_in_several_folds_is_refused_for_dialog_heads_only() -> None:
    utterances = scene_corpus(4)
    speakers = [speaker_key(utterance) for utterance in utterances]
    settings = TrainSettings(protocol="speakers-nested")
    assert len(cross_validation_of(settings, utterances, speakers).folds) == 8
    with pytest.raises(
        TrainingError,
        match=r"dialog 'Ses1_impro01' is in the folds 'made-up/s1F' and 'made-up/s1M' of the protocol speakers-nested",
    ):
        cross_validation_of(settings.model_copy(update={"fusion": "dialog-gru"}), utterances, speakers)
    for protocol in ("loso-nested", "loso-scenes-nested", "erc-split"):
        whole = TrainSettings(protocol=protocol, fusion="dialog-gru")
        assert cross_validation_of(whole, utterances, speakers).folds


def test_context_turn_of_a_corpus_is_found() -> None:
    utterances = scene_corpus(1)
    assert context_rows([*utterances, context_turn(utterances[0])], range(len(utterances))) == [len(utterances)]
