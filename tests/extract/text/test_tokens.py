"""Tokenizers: what is stored, what is unknown, what is cut, and which files are refused."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.extract.encoders.weights import Weights, find_text_weights
from foal.extract.text.tokens import Tokenizer, byte_tokenizer, load_tokenizer
from foal.extract.text.transcript import TextInput
from foal.shared.errors import EncoderError

START = 256
TINY = Weights(name="random:tiny", revision="seed 0", digest="", path=None)


def weights_of(folder: Path) -> Weights:
    return find_text_weights(str(folder), "main", 0)


@given(st.text(min_size=1, max_size=200))
def test_the_byte_tokenizer_has_one_token_per_byte(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode() or "a"
    tokens = load_tokenizer(TINY)(TextInput(text=text))
    expected = min(510, len(text.encode()))
    assert sum(tokens.stored) == expected == len(tokens.ids) - 2
    assert tokens.cut == len(text.encode()) - expected
    assert (tokens.ids[0], tokens.ids[-1], tokens.unknown) == (START, START, 0)


def test_it_has_257_ids() -> None:
    assert load_tokenizer(TINY).size == 257


def test_only_the_words_are_stored_and_parts_are_separated() -> None:
    tokenizer = Tokenizer(byte_tokenizer(), separator="<s>", longest=100)
    tokens = tokenizer(TextInput(text="abc", lead="A: ", context=("xx", "yyy")))
    assert "".join("s" if token == START else "." for token in tokens.ids) == "s..s...s......s"
    assert [at for at, keep in enumerate(tokens.stored) if keep] == [11, 12, 13]
    assert tokens.segments == [0] * 8 + [1] * 7
    alone = tokenizer(TextInput(text="abc"))
    assert [token for token, keep in zip(tokens.ids, tokens.stored, strict=True) if keep] == alone.ids[1:-1]


def test_the_context_gives_way_from_its_beginning_and_the_words_from_their_end() -> None:
    tokenizer = Tokenizer(byte_tokenizer(), longest=10)
    ids = byte_tokenizer().encode("abcdefgh", add_special_tokens=False).ids
    tokens = tokenizer(TextInput(text="gh", context=("abcdef",)))
    assert tokens.ids == [START, *ids[1:6], START, *ids[6:], START]
    assert (sum(tokens.stored), tokens.cut) == (2, 0)
    tokens = tokenizer(TextInput(text="abcdefghabc", context=("a",)))
    assert tokens.ids == [START, START, *ids[:7], START]
    assert (sum(tokens.stored), tokens.cut) == (7, 4)


def test_names_of_special_tokens_in_a_transcript_are_words(bert: Path) -> None:
    tokens = load_tokenizer(weights_of(bert))(TextInput(text="<mask> why </s>"))
    assert tokens.ids.count(2) == 1, "the separator at the end"
    assert tokens.ids.count(4) == 0, "no mask"


def test_unknown_tokens_are_counted(bert: Path) -> None:
    tokenizer = load_tokenizer(weights_of(bert))
    assert tokenizer(TextInput(text="somebody called")).unknown == 0
    tokens = tokenizer(TextInput(text="somebody 漢 called ж", context=("漢",)))
    assert (tokens.unknown, tokens.ids.count(3)) == (2, 3)


def test_the_shortest_of_the_declared_limits_counts(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "model")
    assert load_tokenizer(weights_of(folder)).longest == 96
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 20}))
    assert load_tokenizer(weights_of(folder)).longest == 20
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    assert load_tokenizer(weights_of(folder)).longest == 12
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 3}))
    with pytest.raises(EncoderError, match="at least 8 tokens, got one of 3"):
        load_tokenizer(weights_of(folder))


def test_a_model_without_tokenizer_json_is_refused_with_the_remedy(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match=r"expected tokenizer\.json beside the weights, got config\.json.*write it"):
        weights_of(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"tokenizer\.json: expected a tokenizer of the library tokenizers"):
        load_tokenizer(weights_of(folder))


def test_the_digest_covers_the_tokenizer(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "model")
    before = weights_of(folder).digest
    assert before == weights_of(bert).digest
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("strip_accents", "strip_accents "))
    assert weights_of(folder).digest != before
