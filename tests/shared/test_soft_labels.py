"""Tests of soft labels: their columns in a manifest, and their form in feats.h5."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.errors import ManifestError
from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.soft_labels import share_classes, shares_from_text, shares_to_text
from foal.shared.utterance import Utterance

HEADER = "id,corpus,session,speaker,gender,label"


def rows() -> list[Utterance]:
    return [
        Utterance(id="a", session="s", label="ang", audio="a.wav", shares=(("ang", 3.0), ("hap/exc", 0.0))),
        Utterance(id="b", session="s", label="", audio="b.wav"),
    ]


def test_a_manifest_keeps_its_shares(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", rows())
    assert read_manifest(tmp_path / "m.csv") == rows()
    assert (tmp_path / "m.csv").read_text(encoding="utf-8").splitlines()[0].endswith(",label_ang,label_hap/exc")


def test_a_manifest_without_shares_has_no_such_column(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", rows()[1:])
    assert "label_" not in (tmp_path / "m.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("cell", ["-0.5", "nan", "inf", "many"])
def test_a_cell_that_is_no_share_is_named_with_column_and_id(tmp_path: Path, cell: str) -> None:
    (tmp_path / "m.csv").write_text(f"{HEADER},label_ang\nu7,c,s,p,,ang,{cell}\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=f"line 2, column label_ang: .*for id 'u7', got '{cell}'"):
        read_manifest(tmp_path / "m.csv")


def test_a_column_without_a_class_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"{HEADER},label_\nu7,c,s,p,,ang,1\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="unknown column 'label_'"):
        read_manifest(tmp_path / "m.csv")


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1e9), max_size=4))
def test_shares_survive_their_text(shares: dict[str, float]) -> None:
    assert dict(shares_from_text(shares_to_text(tuple(shares.items())))) == shares


@pytest.mark.parametrize("text", ["[1]", '{"ang": -1}', '{"ang": NaN}', '{"ang": true}', "[" * 100_000, "{"])
def test_text_that_holds_no_shares_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"shares|Expecting"):
        shares_from_text(text)


def test_classes_are_listed_once_in_the_order_of_the_rows() -> None:
    assert share_classes([(("b", 1.0),), (), (("a", 1.0), ("b", 0.0))]) == ["b", "a"]
