"""Sources of features compared with rows of a manifest."""

import json
from pathlib import Path

from foal.shared.files.media_state import MediaFingerprints
from foal.shared.store.catalog import context_turns, is_same_source, row_key
from foal.shared.utterance import ANY_TEXT, Utterance


def test_a_source_is_the_same_in_another_unicode_form_or_case(tmp_path: Path) -> None:
    def source(path: str, end: float = 1.0) -> str:
        return json.dumps([path, None, end, ""])

    nfc, nfd = source("Zo\u00eb.wav"), source("Zoe\u0308.wav")
    assert is_same_source(nfd, nfc)
    assert not is_same_source(source("Zoe\u0308.wav", 2.0), nfc)
    media = MediaFingerprints(tmp_path)
    (tmp_path / "clip.wav").write_text("sound")
    assert not is_same_source(source("Clip.WAV"), source("clip.wav"), media)
    (tmp_path / "Clip.WAV").hardlink_to(tmp_path / "clip.wav")  # stands for a file system without case
    assert is_same_source(source("Clip.WAV"), source("clip.wav"), media)
    assert not is_same_source(source("Clip.WAV"), source("clip.wav"))
    for foreign in ("imported", "[]", "[1, 2]", "null"):
        assert not is_same_source(foreign, nfc)


def test_imported_text_fits_any_words_and_extracted_text_its_own() -> None:
    utterance, corrected = Utterance(id="a", transcript="It rained."), Utterance(id="a", transcript="It snowed.")
    assert is_same_source(ANY_TEXT, utterance.source("text"))
    assert is_same_source(utterance.source("text"), utterance.source("text"))
    assert not is_same_source(utterance.source("text"), corrected.source("text"))
    assert not is_same_source(ANY_TEXT, Utterance(id="a", audio="text").source("audio"))
    assert context_turns({"context": 3}) == 3
    assert context_turns({}) == context_turns({"context": "3"}) == 0


def test_ids_are_compared_in_one_unicode_form_within_the_folder_of_a_split() -> None:
    assert row_key("a/b", "Zoe\u0308") == ("a%2Fb", "Zo\u00eb")
