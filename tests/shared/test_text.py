"""Untrusted values in messages: quoted, shortened and without control characters."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.text import duration, escape_control_characters, json_of_each, preview_ids, quoted, shortened


def test_control_characters_except_newlines_and_tabs_are_escaped() -> None:
    controls = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
    assert not set(escape_control_characters(controls)) & set(controls) - {"\n", "\t"}
    assert escape_control_characters("a\tb\n\xa0äé€😀\udcff") == "a\tb\n\xa0äé€😀\\udcff"
    assert escape_control_characters("\x1b]0;owned\x07") == r"\x1b]0;owned\x07"


@pytest.mark.parametrize("value", ["x" * 10_000, list(range(10_000)), 10**5000, {"a": {"b": "c" * 999}}], ids=range(4))
def test_a_quoted_value_is_short(value: object) -> None:
    assert len(quoted(value)) <= 240


def test_short_values_are_quoted_completely() -> None:
    assert quoted("a\n") == r"'a\n'"
    assert quoted(0.5) == "0.5"


def test_a_value_that_contains_itself_can_be_quoted() -> None:
    value: list[object] = []
    value.append(value)
    assert quoted(value).startswith("[")


def test_a_long_text_is_shortened_in_the_middle() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("a" * 50 + "b" * 50, 13) == "aaaaa...bbbbb"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 min 0 s"), (200, "3 min 20 s"), (3599.6, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_durations_are_written_in_hours_or_minutes(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_first_ids_are_listed() -> None:
    assert preview_ids(["a", "b"]) == "2 utterances (a, b)"
    assert preview_ids(list("abcdef")) == "6 utterances (a, b, c, d, e, ...)"


@given(st.lists(st.none() | st.text(max_size=4) | st.floats() | st.integers()))
def test_the_json_of_each_value_is_that_of_json_dumps(values: list[str | float | None]) -> None:
    assert json_of_each(values) == list(map(json.dumps, values))
