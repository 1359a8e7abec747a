from dataclasses import replace
from urllib.parse import urlparse

import pytest

from foal.shared.seen_corpora import SEEN_CORPORA, seen_corpora, seen_corpora_json, seen_corpus_warnings


@pytest.mark.parametrize(
    ("name", "corpora"),
    [
        ("tae898/emoberta-large", ("meld", "iemocap")),
        ("/models/models--tae898--EmoBERTa-base/snapshots/0a1", ("meld", "iemocap")),
        ("j-hartmann/emotion-english-distilroberta-base", ("meld",)),
        ("emotion2vec/emotion2vec_plus_seed", ("iemocap", "meld", "cremad", "ravdess", "emodb", "savee", "mer2023")),
        ("audio/emotion2vec-plus-seed", ("iemocap", "meld", "cremad", "ravdess", "emodb", "savee", "mer2023")),
        ("superb/wav2vec2-base-superb-er", ("iemocap",)),
        ("facebook/wav2vec2-base", None),
        ("emotion2vec/emotion2vec_base", None),
        ("roberta-base", None),
        ("microsoft/wavlm-base-plus", None),
    ],
)
def test_encoders_are_found_by_name(name: str, corpora: tuple[str, ...] | None) -> None:
    found = seen_corpora([name], "")
    assert [entry.corpora for entry in found] == ([] if corpora is None else [corpora])


def test_a_copy_under_another_name_is_found_by_its_weights() -> None:
    table = [replace(SEEN_CORPORA[0], weights=frozenset({"abc"}))]
    assert seen_corpora(["my-model"], "abc", table) == tuple(table)
    assert seen_corpora(["my-model"], "abd", table) == ()
    # Unknown weights, as of imported features, are no hash.
    assert seen_corpora(["my-model"], "") == ()


def test_a_warning_names_stream_corpus_fact_and_source() -> None:
    seen = {"text": seen_corpora_json(["tae898/emoberta-base"], ""), "audio": []}
    (warning,) = seen_corpus_warnings(seen, ["MELD", "crema-d", "MELD"])
    assert warning.startswith(
        "encoder saw the corpus: the encoder of text (emoberta-base) was trained on labels of MELD:"
    )
    assert "249 of MELD's 280 test dialogs" in warning
    assert "https://github.com/tae898/erc" in warning
    assert seen_corpus_warnings(seen, ["crema-d", "synthetic"]) == []
    assert len(seen_corpus_warnings(seen, ["iemocap6", "meld"])) == 1


def test_every_entry_has_a_source_and_known_corpora() -> None:
    for entry in SEEN_CORPORA:
        assert urlparse(entry.source).scheme == "https"
        assert entry.corpora
        assert set(entry.corpora) <= {"iemocap", "meld", "cremad", "ravdess", "emodb", "savee", "mer2023"}
        assert entry.fact
    assert len({entry.encoder for entry in SEEN_CORPORA}) == len(SEEN_CORPORA)
