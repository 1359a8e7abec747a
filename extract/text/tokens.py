"""Tokenizers: words in, token ids out, with the mask of the tokens that are stored.

The tokenizer is read from tokenizer.json alone: no code of the model's folder runs, and no class of transformers
changes it.
"""

from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from ...shared.errors import EncoderError
from ..encoders.pretrained import first_line
from ..encoders.weights import TOKENIZER, Weights, read_json
from .config import longest_input, optional_json
from .transcript import TextInput

START = "<s>"
"""The only special token of the byte tokenizer: in front of the input, between its parts, and at its end."""

MIN_TOKENS = 8
"""A shorter input has no room for words beside the special tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """An input as tokens.

    Attributes:
        ids: the input of the model, special tokens and context included.
        segments: 0 for the context (or for the utterance without context), 1 for the utterance behind it.
        stored: True for the tokens of the utterance's words.
        unknown: number of stored tokens that replace words outside of the vocabulary.
        cut: number of tokens at the utterance's end that the model cannot read.
    """

    ids: list[int]
    segments: list[int]
    stored: list[bool]
    unknown: int
    cut: int


class Tokenizer:
    """A tokenizer with the limits of its model.

    Attributes:
        size: the highest token id, plus one.
        longest: the most tokens of an input, special ones included.
    """

    def __init__(self, backend: Backend, *, separator: str = "", unknown: int | None = None, longest: int) -> None:
        """Wrap a tokenizer.

        Args:
            backend: the tokenizer; its own padding and truncation are switched off.
            separator: special token between the turns of a context; "": none.
            unknown: id of the unknown token; None if every text has tokens.
            longest: the most tokens that the model reads.
        """
        backend.no_padding()
        backend.no_truncation()
        self.size = 1 + max(backend.get_vocab(with_added_tokens=True).values())
        self.longest = longest
        self._separator = backend.encode(separator, add_special_tokens=False) if separator else None
        # From here on: a transcript that contains the name of a special token has no special tokens.
        backend.encode_special_tokens = True
        self._backend = backend
        self._unknown = unknown

    def __call__(self, words: TextInput) -> Tokens:
        """Tokenize an input.

        Too long a context loses its beginning, too long an utterance its end.
        """
        target = self._backend.encode(words.lead + words.text, add_special_tokens=False)
        context = self._context(words)
        room = self.longest - self._backend.num_special_tokens_to_add(context is not None)
        cut = max(0, len(target) - room)
        target.truncate(room)
        if context is not None:
            context.truncate(room - len(target), direction="left")
            whole = self._backend.post_process(context, target, True)
        else:
            whole = self._backend.post_process(target, None, True)
        own = int(context is not None)
        # Special tokens belong to no sequence; those of the lead end before the words begin.
        stored = [
            sequence == own and not special and (not words.lead or end > len(words.lead))
            for sequence, special, (_, end) in zip(
                whole.sequence_ids, whole.special_tokens_mask, whole.offsets, strict=True
            )
        ]
        unknown = sum(keep and token == self._unknown for keep, token in zip(stored, whole.ids, strict=True))
        return Tokens(ids=whole.ids, segments=whole.type_ids, stored=stored, unknown=unknown, cut=cut)

    def _context(self, words: TextInput) -> Encoding | None:
        parts: list[Encoding] = []
        for turn in words.context:
            if parts and self._separator is not None:
                parts.append(self._separator)
            parts.append(self._backend.encode(turn, add_special_tokens=False))
        return Encoding.merge(parts, False) if any(len(part) for part in parts) else None


def load_tokenizer(weights: Weights) -> Tokenizer:
    """The tokenizer of a model; that of random weights has one token per byte.

    Raises EncoderError if its files cannot be used.
    """
    longest = longest_input(weights)
    if weights.path is None:
        return Tokenizer(byte_tokenizer(), separator=START, longest=longest)
    path = weights.path / TOKENIZER
    model = read_json(path).get("model")
    try:
        backend = Backend.from_file(str(path))
    except Exception as error:
        # The library raises plain Exceptions.
        raise EncoderError(f"{path}: expected a tokenizer of the library tokenizers ({first_line(error)})") from None
    if longest < MIN_TOKENS:
        raise EncoderError(f"{weights.name}: expected a model of at least {MIN_TOKENS} tokens, got one of {longest}")
    names = {**optional_json(weights, "special_tokens_map.json"), **optional_json(weights, "tokenizer_config.json")}
    separator = _token(names.get("sep_token")) or _token(names.get("eos_token"))
    unknown = _unknown_id(backend, model if isinstance(model, dict) else {})
    if backend.token_to_id(separator) is None:
        separator = ""
    return Tokenizer(backend, separator=separator, unknown=unknown, longest=longest)


def byte_tokenizer() -> Backend:
    """A tokenizer with 257 ids: one for each byte of UTF-8, and a special token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Backend(models.BPE(vocab={character: number for number, character in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.add_special_tokens([START])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {START}",
        pair=f"{START} $A {START} $B:1 {START}:1",
        special_tokens=[(START, backend.token_to_id(START))],
    )
    return backend


def _token(value: Any) -> str:
    """The text of a special token in a JSON file: a string, or an object with `content`."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else ""


def _unknown_id(backend: Backend, model: dict[str, Any]) -> int | None:
    """The id of the unknown token by the section `model` of tokenizer.json."""
    unknown = model.get("unk_id", model.get("unk_token"))
    return backend.token_to_id(unknown) if isinstance(unknown, str) else unknown if isinstance(unknown, int) else None
