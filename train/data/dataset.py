"""The labelled utterances of a run, with their features."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...shared.config.train_settings import SOFT, TrainSettings
from ...shared.errors import TrainingError
from ...shared.labels import common_spellings
from ...shared.parallel.malloc import limit_malloc_arenas
from ...shared.store.feature_store import FeatureStore
from ...shared.text import counted
from ...shared.utterance import Utterance
from ..folds.dialogs import context_rows, turns_by_dialog
from ..targets.columns import (
    Targets,
    check_rated,
    rating_rows,
    read_targets,
    soft_classes,
    soft_labelled,
    target_warnings,
)
from ..targets.labels import check_labels, label_warnings
from .features import Features, InMemory, OnDisk, StreamSource, read_streams
from .pooled import read_vectors, utterance_vectors
from .speakers import ReadStreams, SpeakerStatistics, speaker_key, speaker_statistics
from .streams import select_streams, stream_warnings, wanted_streams

NO_CLASS = -1
"""Label of a turn that is context only."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """n labelled utterances with their features.

    Attributes:
        utterances: the utterances, n.
        classes: class names, in the order of their numbers.
        labels: class numbers, (n,) int64, on the CPU; zeros without classes.
        targets: ratings and soft labels, if the network learns them.
        features: the sequences by input, see `input_names`.
        rates: frame rate (Hz) by input, after pooling; by stream name if streams differ by fold.
        stream_names: name of the stream in feats.h5 by input; a template if it differs by fold.
        fold_streams: stream names of each fold, by its number; empty if all folds share them. A dataset with them has
            no features: each fold opens its own.
        speaker_statistics: statistics that standardize each speaker's features (None: those of the training group).
        digest: hash of the features.
        provenance: encoder and configuration by stream name.
        warnings: what was left out or is missing.
        every: all utterances of feats.h5, those without a label included.
        context: turns without a class that a dialog head reads. Their features follow those of the utterances; they
            have no row in anything else.
        dialogs: rows of the turns of each dialog, in order; those from n on are context (dialog heads only).
    """

    utterances: tuple[Utterance, ...]
    classes: tuple[str, ...]
    labels: Tensor
    features: Features
    rates: Mapping[str, float]
    stream_names: Mapping[str, str]
    fold_streams: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    speaker_statistics: SpeakerStatistics | None = None
    digest: str = ""
    provenance: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    every: tuple[Utterance, ...] = ()
    context: tuple[Utterance, ...] = ()
    dialogs: tuple[Tensor, ...] = ()
    targets: Targets = field(default_factory=Targets)

    def __len__(self) -> int:
        return len(self.utterances)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Utterance ids, n."""
        return tuple(utterance.id for utterance in self.utterances)

    @cached_property
    def speakers(self) -> tuple[str, ...]:
        """Speaker names, unique across corpora, n; an utterance without a speaker counts as its own speaker."""
        return tuple(speaker_key(utterance) for utterance in self.utterances)

    @cached_property
    def turn_labels(self) -> Tensor:
        """Class numbers of the utterances, NO_CLASS of the context, (n + context,)."""
        return torch.cat([self.labels, self.labels.new_full((len(self.context),), NO_CLASS)])

    @property
    def random_weights(self) -> bool:
        """Whether any of the features comes from an encoder with random weights."""
        by_fold = self.fold_streams.values() or [self.stream_names]
        return any(self.provenance[name]["random_weights"] for names in by_fold for name in names.values())

    def select(self, inputs: Sequence[str], max_seconds: float | None = None) -> "Dataset":
        """Keep some inputs only, cut after `max_seconds`, except tokens, which have no rate; memory is shared."""
        rates = {name: self.rates[name] for name in inputs if name in self.rates}
        return replace(
            self,
            features=self.features.select(inputs, longest_frames(rates, max_seconds)),
            stream_names={name: self.stream_names[name] for name in inputs},
        )

    def to(self, device: torch.device) -> "Dataset":
        """Copy frames in memory to a device, as far as they fit; features on disk, and vectors, stay where they are."""
        return replace(self, features=self.features.to(device)) if isinstance(self.features, InMemory) else self


def longest_frames(rates: Mapping[str, float], max_seconds: float | None) -> dict[str, int]:
    """Maximum frames by input; none of inputs without a rate, such as tokens."""
    return {name: max(1, round(max_seconds * rate)) for name, rate in rates.items() if rate} if max_seconds else {}


@contextmanager
def open_dataset(
    path: Path, settings: TrainSettings, *, classes: Sequence[str] | None, labelled: bool = True
) -> Iterator[Dataset]:
    """Open all utterances of feats.h5 that have one of the classes; the dataset is valid inside the block.

    Args:
        path: feats.h5.
        settings: streams, frame rate, maximum length, and whether the features are loaded into memory or read from
            disk in every epoch (`load`). With `fold_features` no features are read. Heads over dialogs read vectors,
            those of the other turns of the dialogs, too.
        classes: class names (None: every label that occurs, sorted).
        labelled: False for a prediction: all utterances are opened, with or without a label or ratings. Labels are then
            0 where there is none of `classes`, and ratings are not read. Without speakers, there are no speaker
            statistics.

    Raises:
        TrainingError: a stream is missing, fewer than two classes remain, the labels do not look like classes, a
            feature is NaN or infinite, or a head over dialogs lacks a dialog or its order.
        StoreError: the features cannot be read.
    """
    with FeatureStore(path) as store:
        names = {} if settings.fold_features else select_streams(store, wanted_streams(settings))
        if labelled:
            class_names, every, rows = target_rows(store, settings, classes)
        else:
            class_names, every, rows = tuple(classes or ()), store.utterances, list(range(len(store)))
        if labelled and settings.has_classes and classes is None and not settings.accept_labels:
            check_labels(path, [every[row].label for row in rows])
        sources = {
            key: StreamSource(name=name, rate_hz=store.streams[name].rate_hz, frame_rate=settings.frame_rate)
            for key, name in names.items()
        }
        context = context_rows(every, rows) if settings.over_dialogs else []
        by_speaker = settings.normalize == "speaker" and (labelled or any(every[row].speaker for row in rows))
        features, statistics = _open_features(store, [*rows, *context], sources, settings, by_speaker=by_speaker)
        provenance = store.provenance()
        number = {label: i for i, label in enumerate(class_names)}
        utterances = tuple(every[row] for row in rows)
        data = Dataset(
            utterances=utterances,
            classes=class_names,
            labels=torch.tensor([number.get(utterance.label, 0) for utterance in utterances]),
            features=features,
            rates={key: source.to_hz for key, source in sources.items()},
            stream_names=names,
            speaker_statistics=statistics,
            digest=store.digest,
            provenance={name: provenance[name] for name in names.values()},
            warnings=(
                *(label_warnings(every, class_names) if labelled and settings.has_classes else ()),
                *(target_warnings(settings, utterances, len(every) - len(rows)) if labelled else ()),
                *([f"context: {counted(len(context), 'turn')} of these read by the dialog head"] if context else []),
                *stream_warnings(store, rows, names),
            ),
            every=tuple(every),
            context=tuple(every[row] for row in context),
            dialogs=tuple(map(torch.tensor, turns_by_dialog([every[row] for row in (*rows, *context)])))
            if settings.over_dialogs
            else (),
            targets=read_targets(settings, utterances, class_names) if labelled else Targets(),
        )
        yield data if settings.max_seconds is None else data.select(list(names), settings.max_seconds)


def _open_features(
    store: FeatureStore,
    rows: Sequence[int],
    sources: Mapping[str, StreamSource],
    settings: TrainSettings,
    *,
    by_speaker: bool,
) -> tuple[Features, SpeakerStatistics | None]:
    """The features of utterances `rows` of the store, and if `by_speaker` the statistics of their speakers.

    Heads over dialogs read vectors, and their statistics are those of the vectors.
    """
    features: Features
    read: ReadStreams = read_streams
    if settings.over_dialogs:
        longest = longest_frames({key: source.to_hz for key, source in sources.items()}, settings.max_seconds)
        features = utterance_vectors(store, rows, sources, longest)
        read = partial(read_vectors, longest=longest)
    elif settings.load == "disk" and sources:
        limit_malloc_arenas()
        features = OnDisk(store, rows, sources, budget=round(settings.disk_buffer_mb * 1e6))
    else:
        features = InMemory(read_streams(store, rows, sources))
    return features, speaker_statistics(store, rows, sources, read) if by_speaker else None


def labelled_utterances(store: FeatureStore, settings: TrainSettings) -> Sequence[Utterance]:
    """All utterances of the store; with `normalize_labels` each label in its most frequent spelling."""
    if not settings.normalize_labels:
        return store.utterances
    spelling = common_spellings(utterance.label for utterance in store.utterances)
    return [
        utterance
        if spelling[utterance.label] == utterance.label
        else replace(utterance, label=spelling[utterance.label])
        for utterance in store.utterances
    ]


def target_rows(
    store: FeatureStore, settings: TrainSettings, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], Sequence[Utterance], list[int]]:
    """The classes of a run, all utterances with their labels, and the rows of the store that have its targets.

    Ratings alone have no classes; their utterances need no label. With classes, an utterance needs one, and its ratings
    may be missing.

    Raises:
        TrainingError: fewer than two classes, no utterance with a target, a column without ratings, or unusable soft
            labels.
    """
    every = labelled_utterances(store, settings)
    if not settings.has_classes:
        return (), every, rating_rows(store.path, settings, every)
    if SOFT in settings.target:
        classes = soft_classes(store.path, classes, every)
        every = soft_labelled(every, classes)
    names, rows = labelled_rows(store, classes, every)
    check_rated(store.path, settings, [every[row] for row in rows])
    return names, every, rows


def labelled_rows(
    store: FeatureStore, classes: Sequence[str] | None, utterances: Sequence[Utterance] | None = None
) -> tuple[tuple[str, ...], list[int]]:
    """The classes (None: every label that occurs, sorted), and the rows of the store that have one of them.

    `utterances` are those of the store, if their labels are spelled otherwise there.

    Raises TrainingError for fewer than two classes, and if no utterance has one of them.
    """
    every = store.utterances if utterances is None else utterances
    names = tuple(classes) if classes else tuple(sorted({u.label for u in every if u.label}))
    if len(names) < 2:
        raise TrainingError(f"{store.path}: expected at least two classes, got {', '.join(names) or 'no label at all'}")
    rows = [row for row, utterance in enumerate(every) if utterance.label in names]
    if not rows:
        raise TrainingError(f"{store.path}: no utterance has one of the labels {', '.join(names)}")
    return names, rows
