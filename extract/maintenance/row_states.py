"""Compares the rows of shards with the manifest and the media: which are current, and why others are not."""

import json
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from ...shared.files.media_state import MediaFingerprints, MediaState
from ...shared.store.catalog import Catalog, FeatureLocation, is_same_source, row_key
from ...shared.utterance import TEXT, Utterance

ABSENT = "not in the manifest"
CURRENT = "current"
CHANGED_ROW = "manifest row changed: "
"""Followed by the changed columns: file, start, end, crop, or transcript."""

NEWER = "superseded by a newer shard"
ACCEPTED_STATES = frozenset({CURRENT, MediaState.TIME_ONLY.value})
"""States of rows that are used. The others are ABSENT, CHANGED_ROW, NEWER and the other states of `MediaState`."""

SOURCE_FIELDS = ("file", "start", "end", "crop")
"""The items of `Utterance.source`."""


def row_states(
    catalog: Catalog, utterances: Sequence[Utterance], modality: str, media: MediaFingerprints
) -> NDArray[np.object_]:
    """For each row of a catalog, whether it is current, or why not."""
    rows, matched = catalog.rows, catalog.match(utterances, modality, media)
    states: NDArray[np.object_] = np.full(len(rows), ABSENT, object)
    found = np.flatnonzero(matched >= 0).tolist()
    files = [utterances[position].media(modality) for position in found]
    current = matched[found]
    compared = list(zip(files, rows.media[current].tolist(), rows.contents[current].tolist(), strict=True))
    state_of = {arguments: _media_state(media, *arguments) for arguments in dict.fromkeys(compared)}
    states[current] = [state_of[arguments] for arguments in compared]
    is_current = np.zeros(len(rows), bool)
    is_current[current] = True
    if is_current.all():
        return states
    by_place = {
        row_key(utterance.split, utterance.id): (utterance, row >= 0)
        for utterance, row in zip(utterances, matched.tolist(), strict=True)
    }
    for row in np.flatnonzero(~is_current).tolist():
        location = catalog.location(row)
        utterance, is_superseded = by_place.get((location.shard.parent.parent.name, rows.ids[row]), (None, False))
        if utterance is not None:
            states[row] = NEWER if is_superseded else _why_not_current(catalog, location, utterance, modality, media)
    return states


def _why_not_current(
    catalog: Catalog, location: FeatureLocation, utterance: Utterance, modality: str, media: MediaFingerprints
) -> str:
    source = utterance.source(modality, catalog.context)
    if not is_same_source(location.source, source, media):
        return CHANGED_ROW + _changed_columns(location.source, source)
    return _media_state(media, utterance.media(modality), location.media, location.content)


def _media_state(media: MediaFingerprints, path: str, recorded: str, content: str) -> str:
    state = media.state(path, recorded, content)
    return CURRENT if state is MediaState.SAME else state.value


def _changed_columns(recorded: str, source: str) -> str:
    """The columns in which two sources differ, such as "start, end"."""
    with suppress(ValueError, TypeError, RecursionError):
        old, new = json.loads(recorded), json.loads(source)
        if new[0] == TEXT and len(new) == 2:
            return "transcript"
        if isinstance(old, list) and len(old) == len(new):
            pairs = zip(SOURCE_FIELDS, old, new, strict=True)
            return ", ".join(name for name, before, after in pairs if before != after)
    return "source"
