"""Utterances: their splits, the sources of their features, their dialogs, and their crops."""

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.errors import UsageError
from foal.shared.utterance import (
    Utterance,
    link_turns,
    parse_crop,
    plain_text,
    select_splits,
    speaker_letters,
    split_folder,
)

name = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda text: text.strip(".") and text != "all"
)


def test_an_unknown_split_is_refused_with_the_known_splits(sample_utterances: list[Utterance]) -> None:
    with pytest.raises(UsageError, match="session1, session2, session3"):
        select_splits(sample_utterances, ["session9"])
    assert select_splits(sample_utterances, ["session2", "session2"]) == select_splits(sample_utterances, ["session2"])
    assert len(select_splits(sample_utterances, ["all"])) == len(sample_utterances)
    for splits in (["all", "nonsense"], [""], []):
        with pytest.raises(UsageError, match="the manifest has session1"):
            select_splits(sample_utterances, splits)


def test_the_source_of_features_depends_on_file_segment_and_crop_only() -> None:
    utterance = Utterance(
        id="a", corpus="c", audio="a.wav", video="v.avi", start=1.0, end=2.0, crop="left", label="hap"
    )
    changed = Utterance(id="a", corpus="c", audio="a.wav", video="v.avi", start=1.0, end=2.0, crop="right", label="sad")
    assert utterance.source("audio") == changed.source("audio")
    assert utterance.source("face") != changed.source("face")


def talk(*transcripts: str, gap: int = 0, speakers: str = "xy") -> list[Utterance]:
    """A dialog in shuffled rows, linked; after the first turn `gap` turns are missing."""
    turns = [
        Utterance(
            id=str(number),
            corpus="c",
            speaker=speakers[number % len(speakers)],
            transcript=text,
            dialog="d",
            turn=number + gap * (number > 0),
        )
        for number, text in enumerate(transcripts)
    ]
    link_turns([*turns[::2], *turns[1::2], Utterance(id="other", dialog="e", turn=0), Utterance(id="none")])
    return turns


def test_the_source_of_text_is_its_words_alone() -> None:
    utterance = Utterance(id="a", transcript="I am here.", audio="a.wav", start=1.0, end=2.0, label="hap")
    same = Utterance(id="b", transcript=" I  am here.\n", video="b.avi", start=3.0, label="sad")
    assert utterance.source("text") == same.source("text")
    assert utterance.source("text") != replace(utterance, transcript="I am here").source("text")
    assert replace(utterance, transcript="caf\u00e9").source("text") == Utterance(
        id="c", transcript="cafe\u0301"
    ).source("text")
    assert (utterance.media("text"), utterance.has("text"), utterance.has("face")) == ("", True, False)
    assert not Utterance(id="d", transcript=" ").has("text")
    assert "here" not in utterance.source("text"), "the words of people are not copied into the shards"


def test_a_changed_turn_changes_the_sources_of_the_turns_that_read_it() -> None:
    lines = ["a", "b", "c", "d", "e", "f"]
    before, after = talk(*lines), talk(*lines[:2], "C", *lines[3:])
    for context in range(4):
        changed = [
            old.id for old, new in zip(before, after, strict=True)
            if old.source("text", context) != new.source("text", context)
        ]  # fmt: skip
        assert changed == [str(turn) for turn in range(2, 3 + context)]
    silent = talk(*lines[:2], "", *lines[3:])
    assert silent[2].source("text", 2) == Utterance(id="x").source("text"), "nothing is encoded"
    renamed = talk(*lines, speakers="pq")
    assert [turn.source("text", 3) for turn in renamed] == [turn.source("text", 3) for turn in before]
    assert talk(*lines, speakers="xxy")[3].source("text", 3) != before[3].source("text", 3)


def test_turns_that_the_manifest_lacks_are_not_replaced_by_earlier_ones() -> None:
    turns = talk("a", "b", "c", gap=2)
    assert [turn.turn for turn in turns] == [0, 3, 4]
    assert [turn.id for turn in turns[2].before(1)] == ["1"]
    assert turns[1].before(2) == []
    assert [turn.id for turn in turns[2].before(4)] == ["0", "1"]


def test_a_detached_utterance_carries_only_its_context() -> None:
    turns = talk(*(str(number) for number in range(3000)))
    detached = turns[-1].detached(2)
    assert detached == turns[-1]
    assert detached.source("text", 2) == turns[-1].source("text", 2)
    assert [turn.id for turn in detached.before(9)] == ["2997", "2998"]
    assert len(pickle.dumps(detached)) < 5000
    assert turns[-1].detached().previous is None


def test_speakers_become_letters_in_the_order_in_which_they_speak() -> None:
    assert speaker_letters([Utterance(id="a", speaker=name) for name in "qpqr"]) == ["A", "B", "A", "C"]


@given(st.text())
def test_plain_text_has_single_spaces(text: str) -> None:
    plain = plain_text(text)
    assert plain_text(plain) == plain
    assert plain.split() == plain.split(" ") or not plain


@given(st.tuples(*[st.floats(0, 1)] * 4))
def test_crops_are_fractions_in_order(corners: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = corners
    text = f"{x0},{y0},{x1},{y1}"
    if x0 < x1 and y0 < y1:
        assert parse_crop(text) == corners
    else:
        with pytest.raises(ValueError, match=r"'full', 'left'"):
            parse_crop(text)


@given(st.lists(name, min_size=2, max_size=2, unique=True))
def test_different_splits_have_different_folders(names: list[str]) -> None:
    folders = [split_folder(name) for name in names]
    assert folders[0] != folders[1]
    assert all("/" not in folder and folder not in (".", "..") for folder in folders)
