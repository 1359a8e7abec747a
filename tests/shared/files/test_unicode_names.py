"""Names in NFC and NFD: the file is found in either form."""

import unicodedata
from pathlib import Path

import pytest

from foal.shared.files.unicode_names import locate, nfc, spelled_on_disk

NAME = "Zoë/Café 한.wav"


def form(kind: str, text: str = NAME) -> str:
    return unicodedata.normalize(kind, text)  # type: ignore[arg-type]


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("manifest", ["NFC", "NFD"])
def test_a_file_is_found_in_the_other_form(tmp_path: Path, on_disk: str, manifest: str) -> None:
    path = tmp_path / form(on_disk)
    path.parent.mkdir()
    path.write_text("sound")
    assert locate(tmp_path, form(manifest)).read_text() == "sound"
    assert spelled_on_disk(tmp_path, form(manifest)) == form(on_disk)


def test_folder_and_file_may_have_different_forms(tmp_path: Path) -> None:
    mixed = f"{form('NFD', 'Zoë')}/{form('NFC', 'Café.wav')}"
    (tmp_path / mixed).parent.mkdir()
    (tmp_path / mixed).write_text("sound")
    for kind in ("NFC", "NFD"):
        assert spelled_on_disk(tmp_path, form(kind, "Zoë/Café.wav")) == mixed


def test_the_exact_name_comes_first_and_a_missing_file_keeps_its_name(tmp_path: Path) -> None:
    for kind in ("NFC", "NFD"):
        (tmp_path / form(kind, "é.wav")).write_text(kind)
    assert locate(tmp_path, form("NFC", "é.wav")).read_text() == "NFC"
    assert locate(tmp_path, form("NFD", "é.wav")).read_text() == "NFD"
    for missing in ("é/ö.wav", form("NFD", "ö.wav"), "ascii.wav"):
        assert spelled_on_disk(tmp_path, missing) == missing
    assert nfc(form("NFD")) == form("NFC")
