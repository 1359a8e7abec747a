"""From the utterances of a chunk to their text features; no file is opened."""

from collections.abc import Sequence

import numpy as np

from ...shared.config.settings import TextSettings
from ...shared.store.shard import Entry
from ...shared.utterance import TEXT, Utterance
from ..media.media_group import MediaGroup, Results
from .encoder import EncodedText, TextEncoder
from .transcript import NO_TOKEN, NO_TRANSCRIPT, ONLY_TAGS, text_input

POOL_UTTERANCES = 512
"""Utterances that are sorted by length together."""


def text_entries(groups: Sequence[MediaGroup], encoder: TextEncoder, settings: TextSettings) -> Results:
    """Extract the features of all utterances, in the order given.

    An utterance without words has no rows: the modality is missing, which is neither a vector of zeros nor the
    embedding of an empty text.

    Args:
        groups: the utterances.
        encoder: the encoder.
        settings: tags, prefix, context and speakers.

    Raises:
        Exception: any error of the encoder.
    """
    utterances = [utterance for group in groups for utterance in group.utterances]
    for first in range(0, len(utterances), POOL_UTTERANCES):
        pool = utterances[first : first + POOL_UTTERANCES]
        inputs = [text_input(utterance, settings) for utterance in pool]
        encoded = iter(encoder.encode([words for words in inputs if words is not None]))
        for utterance, words in zip(pool, inputs, strict=True):
            found = None if words is None else next(encoded)
            yield utterance, _entry(utterance, found, encoder, settings.context)


def _entry(utterance: Utterance, found: EncodedText | None, encoder: TextEncoder, context: int) -> Entry:
    values = np.zeros((0, *encoder.frame_shape), np.float32) if found is None else found.values
    note, quality = "", dict[str, float]()
    if found is None:
        note = ONLY_TAGS if utterance.has(TEXT) else NO_TRANSCRIPT
    elif not found.tokens:
        note = NO_TOKEN
    else:
        quality = {"unknown": found.unknown / found.tokens, "truncated": float(found.cut)}
        if found.cut:
            note = f"{found.tokens} of {found.tokens + found.cut} tokens encoded; the encoder reads no more"
    return Entry(
        id=utterance.id,
        values=values,
        valid=np.ones(len(values), bool),
        origin=0.0,
        source=utterance.source(TEXT, context),
        media="",
        note=note,
        quality=quality,
    )
