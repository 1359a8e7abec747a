"""`FeatureDataset`: a PyTorch dataset over feats.h5, for training other models on the extracted features.

dataset = FeatureDataset("feats.h5", streams=["audio", "face"], sessions=["session1", "session2"])
loader = DataLoader(dataset, batch_size=32, shuffle=True, num_workers=2, collate_fn=dataset.collate)
for batch in loader:
batch["values"]["audio"]  # (b, t, [layers,] width) float32, padded with zeros
batch["masks"]["audio"]  # (b, t) bool
batch["labels"]  # (b,) int64
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from ...shared.errors import TrainingError
from ...shared.store.feature_store import FeatureStore
from .dataset import labelled_rows


class Item(TypedDict):
    """One utterance: values (t, [layers,] width) and masks (t,) by stream, label () int64, and id."""

    values: dict[str, Tensor]
    masks: dict[str, Tensor]
    label: Tensor
    id: str


class PaddedItems(TypedDict):
    """b utterances: values (b, t, [layers,] width) and masks (b, t) by stream, labels (b,) int64, and ids."""

    values: dict[str, Tensor]
    masks: dict[str, Tensor]
    labels: Tensor
    ids: list[str]


class FeatureDataset(Dataset[Item]):
    """The labelled utterances of a feats.h5, read on access.

    The file is opened in each process at first access, so that the dataset works in a DataLoader with any number of
    workers and any start method.

    Attributes:
        path: feats.h5.
        streams: names of the streams that are read.
        classes: class names, in the order of their numbers.
        rows: rows of the store, in the order of the items.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        streams: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        sessions: Sequence[str] | None = None,
        rows: Sequence[int] | None = None,
    ) -> None:
        """Select utterances.

        Args:
            path: feats.h5.
            streams: streams to read (None: all).
            classes: class names; utterances with other labels are left out (None: every label that occurs, sorted).
            sessions: sessions to keep (None: all).
            rows: rows of the store to keep (None: all); their order is kept.

        Raises:
            TrainingError: a stream does not exist, fewer than two classes, or no utterance remains.
            StoreError: the file cannot be read.
        """
        self.path = Path(path).absolute()
        with FeatureStore(self.path) as store:
            self.streams = tuple(store.streams if streams is None else streams)
            if unknown := [name for name in self.streams if name not in store.streams]:
                raise TrainingError(f"{self.path}: expected streams {', '.join(store.streams)}, got {unknown[0]!r}")
            self.classes, labelled = labelled_rows(store, classes)
            kept = set(labelled)
            if sessions is not None:
                kept = {row for row in kept if store.utterances[row].session in sessions}
            self.rows = tuple(row for row in (labelled if rows is None else rows) if row in kept)
            if not self.rows:
                raise TrainingError(f"{self.path}: no utterance of these classes, sessions and rows")
            number = {name: i for i, name in enumerate(self.classes)}
            self._labels = [number[store.utterances[row].label] for row in self.rows]
            self._ids = [store.utterances[row].id for row in self.rows]
        self._store: FeatureStore | None = None
        self._process = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Item:
        values, masks = {}, {}
        for name in self.streams:
            packed = self._open().packed(name, [self.rows[index]])
            values[name] = torch.from_numpy(packed.values).float()
            masks[name] = torch.from_numpy(packed.valid)
        return Item(values=values, masks=masks, label=torch.tensor(self._labels[index]), id=self._ids[index])

    @staticmethod
    def collate(items: Sequence[Item]) -> PaddedItems:
        """Pad items to the longest of each stream; the `collate_fn` of a DataLoader."""
        names = list(items[0]["values"])
        return PaddedItems(
            values={name: pad_sequence([item["values"][name] for item in items], batch_first=True) for name in names},
            masks={name: pad_sequence([item["masks"][name] for item in items], batch_first=True) for name in names},
            labels=torch.stack([item["label"] for item in items]),
            ids=[item["id"] for item in items],
        )

    def _open(self) -> FeatureStore:
        # HDF5 files cannot be used in a forked process.
        if self._store is None or self._process != os.getpid():
            self._store = FeatureStore(self.path)
            self._process = os.getpid()
        return self._store

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None}
