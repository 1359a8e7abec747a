"""The catalog: finds the current features of utterances among the rows of shards."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, is_
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...files.media_state import MediaFingerprints
from ...files.unicode_names import nfc_each
from ...parallel.collection import paused_collection
from ...utterance import Utterance, split_folder, split_of_each
from ..shard import ShardHeader
from .rows import CatalogRows, FeatureLocation, ShardInfo, concatenated
from .sources import context_turns, is_same_source, row_key

StoredState = dict[str, tuple[int, int, bool]]
"""The shards in a stored table by file name: size, modification time, and whether they were verified."""


@dataclass(kw_only=True)
class Catalog:
    """The intact shards of one modality and configuration, the rows of their utterances, and the damaged shards.

    Attributes:
        shards: the intact shards.
        damaged: the damaged ones, with the reason.
        rows: the rows of the intact shards. Where an id occurs several times, the newest row comes first.
        paths: the file of each shard number in `rows`: each intact shard once.
        stored: by folder, what its stored table holds; None: it must not be replaced.
    """

    shards: dict[Path, ShardInfo] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)
    rows: CatalogRows = field(default_factory=CatalogRows)
    paths: list[Path] = field(default_factory=list)
    stored: dict[Path, StoredState | None] = field(default_factory=dict)
    _first: dict[str, dict[str, int]] | None = None
    _later: dict[int, list[int]] = field(default_factory=dict)
    _matched: "_Match | None" = None

    def find(
        self, utterance: Utterance, modality: str, media: MediaFingerprints | None = None
    ) -> FeatureLocation | None:
        """The current features of an utterance.

        Args:
            utterance: a row of the manifest.
            modality: audio, face or text.
            media: if given, features of media that have changed do not count, and paths that differ in case are the
                same if they lead to the same file.

        Returns:
            The newest features of the same stretch of the same file or of the same words, or None.
        """
        row = self._current_row(utterance, modality, media)
        return None if row < 0 else self.location(row)

    def location(self, row: int) -> FeatureLocation:
        """The location of a row."""
        return self.rows.located(row, self.paths[int(self.rows.shard[row])])

    def match(
        self, utterances: Sequence[Utterance], modality: str, media: MediaFingerprints | None = None
    ) -> NDArray[np.int64]:
        """The rows of the current features of utterances, (n,); -1 for those without any. Arguments as of `find`.

        The result of the last call is kept, because planning, summary and index ask for mostly the same utterances.
        """
        last = self._matched
        if last is None or (last.modality, last.media) != (modality, media):
            with paused_collection():
                rows = self._match(utterances, modality, media)
        elif len(utterances) == len(last.utterances) and all(map(is_, utterances, last.utterances)):
            return last.rows
        else:
            rows, known = last.rows_of(utterances)
            unknown = np.flatnonzero(~known)
            rows[unknown] = self._match([utterances[position] for position in unknown.tolist()], modality, media)
        # The list holds the utterances, so that no other one can get their identity.
        self._matched = _Match(list(utterances), modality, media, rows)
        # A third of the memory of a catalog, and seldom needed again.
        self._first, self._later = None, {}
        return rows

    def _match(
        self, utterances: Sequence[Utterance], modality: str, media: MediaFingerprints | None
    ) -> NDArray[np.int64]:
        if not (len(self.rows) and utterances):
            return np.full(len(utterances), -1, np.int64)
        by_folder, context = self._rows_by_id(), self.context
        splits = split_of_each(utterances)
        by_split = {split: by_folder.get(split_folder(split), {}) for split in set(splits)}
        ids = nfc_each(list(map(attrgetter("id"), utterances)))
        matched = np.array([by_split[split].get(name, -1) for split, name in zip(splits, ids, strict=True)], np.int64)
        present = np.flatnonzero(matched >= 0)
        # One object per id, whatever the number of streams.
        self.rows.ids[matched[present]] = np.array(ids, object)[present]
        members, rows = [utterances[position] for position in present.tolist()], matched[present]
        sources = np.array([utterance.source(modality, context) for utterance in members], object)
        current = self.rows.sources[rows] == sources
        if media is not None:
            files = [utterance.media(modality) for utterance in members]
            current &= _unchanged(media, files, self.rows.media[rows], self.rows.contents[rows])
        # The newest row of nearly every utterance is the current one.
        for position in present[~current].tolist():
            matched[position] = self._current_row(utterances[position], modality, media)
        return matched

    def _current_row(self, utterance: Utterance, modality: str, media: MediaFingerprints | None) -> int:
        """The row of the current features of an utterance, or -1."""
        folder, utterance_id = row_key(utterance.split, utterance.id)
        first = self._rows_by_id().get(folder, {}).get(utterance_id)
        if first is None:
            return -1
        rows, path = self.rows, utterance.media(modality)
        source = utterance.source(modality, self.context)
        candidates: list[int] = [first, *self._later.get(first, ())]
        for row in candidates:
            if is_same_source(rows.sources[row], source, media) and (
                media is None or media.unchanged(path, rows.media[row], rows.contents[row])
            ):
                return row
        return -1

    def _rows_by_id(self) -> dict[str, dict[str, int]]:
        """The newest row of each id, by folder of the split."""
        if self._first is None:
            folders = [path.parent.parent.name for path in self.paths]
            codes = {folder: code for code, folder in enumerate(dict.fromkeys(folders))}
            folder_of_row = np.array([codes[folder] for folder in folders], np.int64)[self.rows.shard]
            order = np.argsort(folder_of_row, kind="stable")
            ends = np.cumsum(np.bincount(folder_of_row, minlength=len(codes)))
            by_folder: dict[str, dict[str, int]] = {}
            for folder, rows in zip(codes, np.split(order, ends[:-1]) if codes else (), strict=True):
                ids, numbers = self.rows.ids[rows].tolist(), rows.tolist()
                # The last value of a key counts.
                first = by_folder[folder] = dict(zip(reversed(ids), reversed(numbers), strict=True))
                if len(first) < len(ids):
                    for utterance_id, row in zip(ids, numbers, strict=True):
                        if first[utterance_id] != row:
                            self._later.setdefault(first[utterance_id], []).append(row)
            self._first = by_folder
        return self._first

    @property
    def context(self) -> int:
        """Number of previous turns that the encoder reads; the shards of a catalog agree in it."""
        shard = next(iter(self.shards.values()), None)
        return 0 if shard is None else context_turns(shard.header.config)

    @property
    def headers(self) -> dict[Path, ShardHeader]:
        """The headers of the intact shards."""
        return {path: shard.header for path, shard in self.shards.items()}

    def update(self, newer: "Catalog") -> None:
        """Add the shards of another catalog: they replace those of the same path, and come before all others."""
        self.stored = newer.stored | self.stored
        if not newer.shards and not newer.damaged:
            return
        self.discard([path for path in (*newer.shards, *newer.damaged) if path in self.shards or path in self.damaged])
        self.shards.update(newer.shards)
        self.damaged.update(newer.damaged)
        moved = self.rows.renumbered(np.arange(len(self.paths), dtype=np.int64) + len(newer.paths))
        self._replace_rows(concatenated([newer.rows, moved]), [*newer.paths, *self.paths])

    def discard(self, paths: Iterable[Path]) -> None:
        """Remove shards that no longer exist, or are about to be replaced."""
        gone = set(paths)
        for path in gone:
            self.shards.pop(path, None)
            self.damaged.pop(path, None)
        kept = np.array([path not in gone for path in self.paths], bool)
        if not kept.all():
            paths = [path for path in self.paths if path not in gone]
            self._replace_rows(self.rows.of_shards(kept), paths)

    def _replace_rows(self, rows: CatalogRows, paths: list[Path]) -> None:
        self.rows, self.paths = rows, paths
        self._first, self._later, self._matched = None, {}, None


@dataclass(frozen=True)
class _Match:
    """The arguments of `Catalog.match` and its result."""

    utterances: Sequence[Utterance]
    modality: str
    media: MediaFingerprints | None
    rows: NDArray[np.int64]

    def rows_of(self, utterances: Sequence[Utterance]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The rows of these utterances, (n,), and for which of them they are known; without those, -1."""
        if not self.utterances:
            return np.full(len(utterances), -1, np.int64), np.zeros(len(utterances), bool)
        matched, wanted = (np.fromiter(map(id, each), np.uint64, len(each)) for each in (self.utterances, utterances))
        order = np.argsort(matched)
        place = order[np.minimum(np.searchsorted(matched, wanted, sorter=order), len(order) - 1)]
        known = matched[place] == wanted
        return np.where(known, self.rows[place], -1), known


def _unchanged(
    media: MediaFingerprints, files: Sequence[str], recorded: NDArray[np.object_], contents: NDArray[np.object_]
) -> NDArray[np.bool_]:
    """Whether each file has not changed since; see `MediaFingerprints.unchanged`."""
    states = list(zip(files, recorded.tolist(), contents.tolist(), strict=True))
    known = {state: media.unchanged(*state) for state in dict.fromkeys(states)}
    return np.fromiter(map(known.__getitem__, states), bool, len(states))
