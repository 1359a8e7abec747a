import pytest

from foal.train.report.formatting import (
    gain_text,
    interval_text,
    listed,
    modalities_title,
    modalities_word,
    p_limit,
    p_text,
    signed,
    table_row,
)


def test_missing_numbers_are_dashes() -> None:
    assert (interval_text(None), p_text(None), gain_text(0.012, None)) == ("-", "-", "+1.2")


def test_numbers_are_in_percent_with_one_decimal() -> None:
    assert interval_text([0.591, 0.63]) == "59.1 to 63.0"
    assert gain_text(0.012, [-0.003, 0.026]) == "+1.2 (-0.3 to +2.6)"
    assert signed(-0.0001) == "+0.0"
    assert [p_text(p) for p in (0.0004, 0.0312)] == ["<0.001", "0.031"]


@pytest.mark.parametrize(("speakers", "notes"), [(4, ["With 4 speakers p cannot be below 0.125."]), (10, [])])
def test_few_speakers_limit_the_p_value(speakers: int, notes: list[str]) -> None:
    assert p_limit(speakers) == notes


def test_cells_may_contain_bars() -> None:
    assert table_row(["a|b", "c"]) == "| a\\|b | c |"


def test_inputs_in_words() -> None:
    assert [listed(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]
    for inputs, modalities, title in (
        (["audio", "face"], "both", "audio and face"),
        (["text"], "text", "text"),
        (["audio", "face", "text"], "audio+face+text", "audio, face and text"),
    ):
        assert modalities_word(inputs) == modalities
        assert modalities_title(modalities) == title
