"""The rows of a manifest: columns are read exactly where no row has a problem, with the same content."""

import csv
import io
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foal.shared.files.unicode_names import nfc
from foal.shared.manifest_rows import BLOCK_ROWS, NAMES, numbered_rows, read_columns, row_problem
from foal.shared.utterance import INTEGERS, NUMBERS, utterances_of

HEADER = ("id", "corpus", "session", "speaker", "gender", "label")
OTHERS = ("audio", "start", "end", "crop", "fold", "transcript", "valence", "turn", "label_hap")
CELLS = {
    "id": ["a", "b", "c", "Zoe\u0308", "Zo\u00eb", ""],
    "corpus": ["c", "", "all", ".."],
    "session": ["s1", "s2", "", "x" * 300],
    "label": ["hap", ""],
    "start": ["", "0", "1.5", "-1", "nan"],
    "end": ["", "1", "2e3", "inf", "soon"],
    "crop": ["", "full", "left", "0,0,1,1", "middle"],
    "fold": ["", " ", "fold1"],
    "valence": ["", "3.5", "-1e400"],
    "turn": ["", "0", "3.0", "1.5", "-1"],
    "label_hap": ["", "1", "-2", "often"],
    "transcript": ["", "It rained.", "two\nlines", "a\0b"],
}


def written(header: Sequence[str], rows: Sequence[Sequence[str]]) -> io.StringIO:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([header, *rows])
    file.seek(0)
    return file


def problems(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """What is wrong with the rows, one by one."""
    found, seen = [], set[str]()
    good = []
    for _, row in numbered_rows(csv.DictReader(written(header, rows), strict=True)):
        problem = row_problem(row) or ("twice" if row["id"] in seen else "")
        found += [problem] * bool(problem)
        seen.add(row["id"])
        good.append(row)
    filled = {row["corpus"] for row in good if (row.get("fold") or "").strip()}
    if not found:
        found += ["fold" for row in good if row["label"] and row["corpus"] in filled and not row["fold"].strip()]
    return found if good else ["empty"]


@st.composite
def manifests(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    header = [*HEADER, *draw(st.lists(st.sampled_from(OTHERS), unique=True))]
    # Mostly the first, which are right.
    row = st.tuples(*(st.sampled_from([*CELLS.get(name, ["x"])[:2] * 6, *CELLS.get(name, ["x"])]) for name in header))
    rows = [list(cells) for cells in draw(st.lists(row, max_size=3))]
    for number, cells in enumerate(rows):
        if draw(st.integers(0, 9)):
            cells[0] = f"u{number}"
        if draw(st.integers(0, 29)) == 0:
            cells.append("more")
    return header, rows


@given(manifests())
@example(([*HEADER, "turn"], [["a", "c", "s1", "", "", "", "-0"]]))
@example(([*HEADER, "fold"], [["a", "c", "s1", "", "", "x", "f"], ["b", "c", "s1", "", "", "x", ""]]))
@example((list(HEADER), []))
@example((list(HEADER), [["a", "c", "s1", "", "", "x"], [], ["b", "c", "s1", "", "", "x"]]))
def test_columns_are_read_where_no_row_has_a_problem(manifest: tuple[list[str], list[list[str]]]) -> None:
    header, rows = manifest
    reader = csv.reader(written(header, rows), strict=True)
    columns = read_columns(reader, next(reader))
    wrong = problems(header, rows)
    assert (columns is None) == bool(wrong), wrong
    if columns is None:
        return
    utterances = utterances_of(columns)
    filled = [cells for cells in rows if cells]
    assert len(utterances) == len(filled)
    for utterance, cells in zip(utterances, filled, strict=True):
        for name, text in zip(header, cells, strict=True):
            if name == "label_hap":
                assert utterance.shares == ((("hap", float(text)),) if text else ())
                continue
            value = getattr(utterance, name)
            if name in NUMBERS:
                assert value == (float(text) if text else None)
                assert value is None or type(value) is (int if name in INTEGERS else float)
            else:
                assert value == (nfc(text) if name in NAMES else text or ("full" if name == "crop" else ""))
        assert utterance.crop == "full" if "crop" not in header else utterance.crop


def test_equal_cells_are_one_object_and_rows_are_read_in_blocks() -> None:
    count = BLOCK_ROWS + 3
    rows = [[f"u{number}", "corpus name", "s", "", "", ""] for number in range(count)]
    reader = csv.reader(written(HEADER, rows))
    columns = read_columns(reader, next(reader))
    assert columns is not None
    assert columns["id"] == [row[0] for row in rows]
    assert len({id(text) for text in columns["corpus"]}) == 1


@pytest.mark.parametrize(("line", "number"), [("u1,c,s,,,\n\nu2,c,s,,,\n", [2, 4]), ('"u\n1",c,s,,,\n', [3])])
def test_rows_have_the_number_of_their_last_line(line: str, number: list[int]) -> None:
    reader = csv.DictReader(io.StringIO(",".join(HEADER) + "\n" + line, newline=""))
    assert [line for line, _ in numbered_rows(reader)] == number
