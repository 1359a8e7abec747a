"""The words that are encoded: tags, white space, Unicode, context and speakers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.extract.text.transcript import TextInput, spoken_text, text_input
from foal.shared.config.settings import TextSettings
from foal.shared.utterance import Utterance, link_turns


@pytest.mark.parametrize(
    ("transcript", "stripped"),
    [
        ("  I  am\tfine. ", "I am fine."),
        ("Cafe\u0301", "Caf\u00e9"),
        ("[LAUGHTER] I am [GARBAGE] fine [BREATHING]", "I am fine"),
        ("<breath> well ++UM++ yes", "well yes"),
        ("[LAUGHTER]", ""),
        ("[LIPSMACK].", ""),
        ("...", "..."),
        ("a < b and b > a", "a < b and b > a"),
        ("", ""),
        (" \n", ""),
    ],
)
def test_tags_are_stripped_and_words_kept(transcript: str, stripped: str) -> None:
    assert spoken_text(transcript, "strip") == stripped
    assert spoken_text("[LAUGHTER] I", "keep") == "[LAUGHTER] I"


@given(st.text())
def test_normalization_is_idempotent(text: str) -> None:
    for tags in ("strip", "keep"):
        once = spoken_text(text, tags)
        assert once == once.strip()
        assert spoken_text(spoken_text(text, "keep"), tags) == once


def dialog() -> list[Utterance]:
    lines = ("Hello.", "[LAUGHTER]", "You came!", "Yes.")
    turns = [
        Utterance(id=str(turn), corpus="c", speaker=f"name {'xy'[turn % 2]}", transcript=line, dialog="d", turn=turn)
        for turn, line in enumerate(lines)
    ]
    link_turns(turns)
    return turns


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, TextInput(text="Yes.")),
        ({"prefix": "query: "}, TextInput(text="Yes.", lead="query: ")),
        ({"context": 1}, TextInput(text="Yes.", context=("You came!",))),
        ({"context": 3}, TextInput(text="Yes.", context=("Hello.", "You came!"))),
        ({"context": 3, "tags": "keep"}, TextInput(text="Yes.", context=("Hello.", "[LAUGHTER]", "You came!"))),
        (
            {"context": 3, "speakers": "letters", "prefix": "query: "},
            TextInput(text="Yes.", lead="query: B: ", context=("A: Hello.", "A: You came!")),
        ),
        ({"speakers": "letters"}, TextInput(text="Yes.")),
    ],
)
def test_the_context_is_what_was_said_before(settings: dict[str, object], expected: TextInput) -> None:
    assert text_input(dialog()[-1], TextSettings.model_validate(settings)) == expected


def test_words_missing_from_an_utterance_leave_nothing_to_encode() -> None:
    assert text_input(dialog()[1], TextSettings(context=2)) is None
    assert text_input(Utterance(id="a"), TextSettings()) is None
