"""Parts: each name belongs to exactly one, and the rule stays the same; the names of their files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.errors import UsageError
from foal.shared.files.part import Part, part_files, part_name, split_part_name

TWO_OF_FOUR = Part(number=2, count=4)


@pytest.mark.parametrize(
    "text", ["5/4", "0/4", "0/0", "-1/4", "4", "1/", "/4", "1/4/2", "a/b", "1.0/4", "", "1/9999999"]
)
def test_an_invalid_part_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Part.parse(text)
    assert str(caught.value) == f"--part: expected I/N with I from 1 to N, such as 2/4, got '{text}'"


@given(st.lists(st.text(), max_size=30), st.integers(1, 12))
def test_each_name_belongs_to_exactly_one_part(names: list[str], count: int) -> None:
    parts = [Part.parse(f"{number}/{count}") for number in range(1, count + 1)]
    for name in names:
        assert sum(part.holds(name) for part in parts) == 1


def test_the_rule_is_that_of_earlier_versions() -> None:
    # A version with another rule would compute finished utterances in another job.
    names = ["Session1/dialog/avi/DivX/Ses01F_impro01.avi", "é.wav", "u1", ""]
    assert [[number for number in range(1, 5) if Part(number=number, count=4).holds(name)] for name in names] == [
        [1],
        [4],
        [2],
        [3],
    ]


def test_files_of_parts_are_recognized(tmp_path: Path) -> None:
    assert (str(TWO_OF_FOUR), part_name("failures.csv", None)) == ("2/4", "failures.csv")
    for name in ("failures.csv", ".foal.lock"):
        of_part = part_name(name, TWO_OF_FOUR)
        assert split_part_name(of_part) == (name, TWO_OF_FOUR)
        (tmp_path / of_part).touch()
    for other in (
        "failures.csv",
        "failures.part-0-of-4.csv",
        "failures.part-2-of-4.txt",
        "my-failures.part-1-of-2.csv",
    ):
        (tmp_path / other).touch()
    assert part_files(tmp_path, "failures.csv") == {tmp_path / "failures.part-2-of-4.csv": TWO_OF_FOUR}
    assert part_files(tmp_path / "missing", ".foal.lock") == {}
