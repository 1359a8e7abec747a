"""The words that a text encoder reads: normalized transcripts, their context, and what is put in front of them."""

import re
from dataclasses import dataclass

from ...shared.config.settings import TextSettings
from ...shared.utterance import Utterance, plain_text, speaker_letters

TAG = re.compile(r"\[[^\[\]]*\]|<[A-Za-z][A-Za-z_ /-]*>|\+\+[A-Za-z_]+\+\+")
"""Marks of sounds and of doubt: [LAUGHTER], <breath>, ++GARBAGE++."""

NO_TRANSCRIPT = "no transcript in the manifest"
ONLY_TAGS = "only tags in the transcript"
NO_TOKEN = "no token in the transcript"
"""Notes of utterances without text features."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextInput:
    """Input of a text encoder.

    Attributes:
        text: the words of the utterance, of which the tokens are stored; not empty.
        lead: text in front of them in the same sentence, prefix and speaker.
        context: previous turns, the earliest first.
    """

    text: str
    lead: str = ""
    context: tuple[str, ...] = ()


def spoken_text(transcript: str, tags: str) -> str:
    """A transcript in Unicode form NFC with single spaces; case and punctuation are left to the tokenizer.

    Args:
        transcript: the column of the manifest.
        tags: `strip` removes tags; a transcript that has nothing but them and punctuation becomes empty.
    """
    text = plain_text(transcript)
    if tags == "keep":
        return text
    stripped = plain_text(TAG.sub(" ", text))
    if stripped == text:
        return text
    return stripped if any(character.isalnum() for character in stripped) else ""


def text_input(utterance: Utterance, settings: TextSettings) -> TextInput | None:
    """The input of an utterance, with the turns that it refers to; None if there are no words.

    Args:
        utterance: a row of the manifest.
        settings: tags, prefix, context and speakers.
    """
    text = spoken_text(utterance.transcript, settings.tags)
    if not text:
        return None
    turns = [*utterance.before(settings.context), utterance]
    letters = speaker_letters(turns) if settings.context and settings.speakers == "letters" else [""] * len(turns)
    leads = [f"{letter}: " if letter else "" for letter in letters]
    earlier = [spoken_text(turn.transcript, settings.tags) for turn in turns[:-1]]
    return TextInput(
        text=text,
        lead=settings.prefix + leads[-1],
        context=tuple(lead + words for lead, words in zip(leads, earlier, strict=False) if words),
    )
