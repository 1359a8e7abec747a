"""From utterances to entries: order, notes, quality, and missing words."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.extract.media.media_group import MediaGroup
from foal.extract.text import pipeline
from foal.extract.text.encoder import TextEncoder
from foal.extract.text.pipeline import text_entries
from foal.extract.text.transcript import NO_TOKEN, NO_TRANSCRIPT, ONLY_TAGS
from foal.shared.config.settings import TextSettings
from foal.shared.store.shard import Entry
from foal.shared.utterance import Utterance
from foal.tests.extract.text.small_text_models import TEXTS

LINES = ("Somebody called.", "", "[LAUGHTER]", "漢 why", " ".join(TEXTS * 3), "\u200b")


def entries_of(folder: Path, load_text: Callable[..., TextEncoder], **settings: str) -> list[Entry]:
    utterances = [Utterance(id=str(n), start=3.0, transcript=line) for n, line in enumerate(LINES)]
    groups = [MediaGroup(modality="text", path=None, fingerprint="", utterances=[u]) for u in utterances]
    found = list(text_entries(groups, load_text(folder, batch_tokens=500), TextSettings.model_validate(settings)))
    assert [utterance for utterance, _ in found] == utterances
    entries = [entry for _, entry in found if isinstance(entry, Entry)]
    assert [entry.source for entry in entries] == [utterance.source("text") for utterance in utterances]
    return entries


@pytest.mark.parametrize("pool", [1, 100])
def test_missing_words_are_a_missing_modality_with_a_note(
    bert: Path, load_text: Callable[..., TextEncoder], pool: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "POOL_UTTERANCES", pool)
    entries = entries_of(bert, load_text)
    assert [len(entry.values) > 0 for entry in entries] == [True, False, False, True, True, False]
    assert [entry.note for entry in entries[:4]] == ["", NO_TRANSCRIPT, ONLY_TAGS, ""]
    assert entries[5].note == NO_TOKEN
    assert {entry.origin for entry in entries} == {0.0}, "tokens have no times"
    assert all(entry.valid.all() and entry.values.shape[1:] == (16,) for entry in entries)
    assert entries[3].quality == {"unknown": 1 / len(entries[3].values), "truncated": 0.0}
    cut = entries[4].quality["truncated"]
    assert cut > 0
    assert entries[4].note == f"94 of {94 + int(cut)} tokens encoded; the encoder reads no more"


def test_tags_can_be_kept(bert: Path, load_text: Callable[..., TextEncoder]) -> None:
    entries = entries_of(bert, load_text, tags="keep")
    assert len(entries[2].values) > 0
    assert entries[2].note == ""
