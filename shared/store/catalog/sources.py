"""Compares what features were computed from with what a row of the manifest names."""

import json
from collections.abc import Mapping
from typing import Any

from ...files.media_state import MediaFingerprints
from ...files.unicode_names import nfc
from ...utterance import ANY_TEXT, TEXT, split_folder


def context_turns(config: Mapping[str, Any]) -> int:
    """The previous turns that an encoder with this configuration reads, see `Utterance.source`; 0 for other files."""
    turns = config.get("context", 0)
    return turns if isinstance(turns, int) else 0


def row_key(split: str, utterance_id: str) -> tuple[str, str]:
    """The key of an utterance in a catalog: its split's folder and its id, in Unicode form NFC."""
    return split_folder(split), nfc(utterance_id)


def is_same_source(recorded: str, source: str, media: MediaFingerprints | None = None) -> bool:
    """Whether two sources are the same stretch of the same file or the same words, see `Utterance.source`.

    Imported text features belong to any words. Paths are compared in Unicode form NFC. Paths that differ in case are
    the same if they lead to the same file.

    Args:
        recorded: the source in a shard.
        source: the source of a row of the manifest.
        media: the files of the corpus; None: case counts.
    """
    if recorded == source:
        return True
    try:
        (old, *old_part), (new, *new_part) = json.loads(recorded), json.loads(source)
        if recorded == ANY_TEXT and new == TEXT and len(new_part) == 1:
            return True
        if old_part != new_part or nfc(old).casefold() != nfc(new).casefold():
            return False
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False  # imported features have sources of their own
    return nfc(old) == nfc(new) or (media is not None and media.same_file(old, new))
