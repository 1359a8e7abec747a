"""The labelled utterances that a run is about, with their features."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...shared.config.settings import MODALITIES, modality_of
from ...shared.config.train_settings import TrainSettings
from ...shared.errors import TrainingError
from ...shared.store.feature_store import FeatureStore
from ...shared.utterance import Utterance
from .features import Features, InMemory, OnDisk, Reading, keep_heap_small, read_streams


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """n labelled utterances; labels (n,), on the CPU, index `classes`.

    `digest` and `provenance` tell which features these are, `rates` how many frames a second they have now, by
    modality; `notes` what was left out on the way here.
    """

    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...]
    labels: Tensor
    features: Features
    rates: Mapping[str, float]
    names: Mapping[str, str]
    digest: str = ""
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.utterances)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """(n)."""
        return tuple(utterance.id for utterance in self.utterances)

    @cached_property
    def speakers(self) -> tuple[str, ...]:
        """(n); a speaker's name is his only within the corpus, and nobody's name makes an utterance its own speaker."""
        return tuple(f"{u.corpus}/{u.speaker}" if u.speaker else f"{u.corpus}//{u.id}" for u in self.utterances)

    @property
    def random_weights(self) -> bool:
        """Whether any of the features comes from an encoder that never learned anything."""
        return any(self.provenance[name]["random_weights"] for name in self.names.values())

    def only(self, modalities: Sequence[str], max_seconds: float | None = None) -> "Dataset":
        """The same with some modalities alone, cut after so many seconds; shares what is in memory."""
        longest = {name: max(1, round(max_seconds * self.rates[name])) for name in modalities} if max_seconds else None
        return replace(
            self,
            features=self.features.only(modalities, longest),
            names={name: self.names[name] for name in modalities},
        )

    def to(self, device: torch.device) -> "Dataset":
        """The same with its features on a device, as far as they fit."""
        return replace(self, features=self.features.to(device)) if isinstance(self.features, InMemory) else self


def wanted_modalities(settings: TrainSettings) -> tuple[str, ...]:
    """The modalities that the settings ask for."""
    return MODALITIES if settings.modalities == "both" else (settings.modalities,)


@contextmanager
def opened(
    path: Path, settings: TrainSettings, *, classes: Sequence[str] | None, modalities: Sequence[str] | None = None
) -> Iterator[Dataset]:
    """All utterances of feats.h5 that have one of the classes (default: every label there is), with their features.

    In memory, or (settings.load) on disk; while the block lasts. Raises TrainingError if a modality is not in the
    store, fewer than two classes remain, or a number in the features is none; StoreError for what cannot be read.
    """
    with FeatureStore(path) as store:
        named = {"audio": settings.audio, "face": settings.face}
        names = chosen_names(store, {name: named[name] for name in modalities or wanted_modalities(settings)})
        known, rows = _labelled(store, classes)
        readings = {
            modality: Reading(name=name, rate_hz=store.streams[name].rate_hz, frame_rate=settings.frame_rate)
            for modality, name in names.items()
        }
        features: Features
        if settings.load == "disk":
            keep_heap_small()
            features = OnDisk(store, rows, readings, budget=round(settings.disk_buffer_mb * 1e6))
        else:
            features = InMemory(read_streams(store, rows, readings))
        made = store.provenance()
        number = {label: i for i, label in enumerate(known)}
        kept = tuple(store.utterances[row] for row in rows)
        data = Dataset(
            utterances=kept,
            classes=known,
            labels=torch.tensor([number[utterance.label] for utterance in kept]),
            features=features,
            rates={modality: reading.to_hz for modality, reading in readings.items()},
            names=names,
            digest=store.digest,
            provenance={name: made[name] for name in names.values()},
            notes=(*_notes_on_labels(store.utterances, known), *_notes_on_streams(store, rows, names)),
        )
        yield data if settings.max_seconds is None else data.only(list(names), settings.max_seconds)


def chosen_names(store: FeatureStore, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """The features to train on, by modality: those named, else the only ones of the modality, else the unnamed ones.

    Raises TrainingError if there are none, or several of which none can be preferred.
    """
    chosen: dict[str, str] = {}
    for modality, name in wanted.items():
        there = [stream for stream in store.streams if modality_of(stream) == modality]
        if name in there or (name is None and modality in there):
            chosen[modality] = name or modality
        elif name is None and len(there) == 1:
            chosen[modality] = there[0]
        elif name is None and there:
            raise TrainingError(f"{store.path} holds {', '.join(there)}: say which with --{modality}")
        else:
            known = ", ".join(store.streams) or "none"
            called = f" called {name}" if name else ""
            raise TrainingError(
                f"{store.path}: expected {modality} features{called}, got only {known}; extract them, or train with "
                f"--modalities or --{modality} set to what is there"
            )
    return chosen


def _labelled(store: FeatureStore, classes: Sequence[str] | None) -> tuple[tuple[str, ...], list[int]]:
    known = tuple(classes) if classes else tuple(sorted({u.label for u in store.utterances if u.label}))
    if len(known) < 2:
        raise TrainingError(f"{store.path}: expected at least two classes, got {', '.join(known) or 'no label at all'}")
    rows = [row for row, utterance in enumerate(store.utterances) if utterance.label in known]
    if not rows:
        raise TrainingError(f"{store.path}: no utterance has one of the labels {', '.join(known)}")
    return known, rows


def _notes_on_labels(utterances: Sequence[Utterance], classes: Sequence[str]) -> list[str]:
    notes = []
    if missing := sum(not utterance.label for utterance in utterances):
        notes.append(f"{missing} of {len(utterances)} utterances left out: they have no label")
    if others := sorted({u.label for u in utterances if u.label} - set(classes)):
        count = sum(utterance.label in others for utterance in utterances)
        notes.append(f"{count} of {len(utterances)} utterances left out: their label is {', '.join(others)}")
    return notes


def _notes_on_streams(store: FeatureStore, rows: Sequence[int], names: Mapping[str, str]) -> list[str]:
    notes = []
    for modality, name in names.items():
        if missing := int((store.valid_frames(name)[list(rows)] == 0).sum()):
            notes.append(f"{missing} of {len(rows)} utterances have no {modality}: a learned placeholder stands in")
    return notes
