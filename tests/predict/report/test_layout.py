import pytest

from foal.predict.report.layout import sort_key, text_table


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("72.2", "72.2"),
        ("60,879", "60879"),
        ("-5.0 (-14.7 to +4.7)", "-5"),
        ("+1.2", "1.2"),
        ("<0.001", "0.0005"),
        ("71.5 ± 0.4", "71.5"),
        ("6.5e-04", "0.00065"),
        ("-", ""),
        ("none", ""),
    ],
)
def test_cells_are_sorted_by_their_first_number(text: str, key: str) -> None:
    assert sort_key(text) == key


def test_names_are_no_numbers() -> None:
    table = text_table("t", ["test", "development", "UA"], [["session1", "2", "50.0"]], names=2)
    assert [cell.key for cell in table.rows[0]] == ["", "", "50"]
    assert table.numeric == {2}
