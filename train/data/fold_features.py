"""Features per fold: streams named after the test group or the number of a fold, opened one fold at a time."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from ...shared.config.settings import modality_of
from ...shared.config.train_settings import TrainSettings
from ...shared.errors import TrainingError, UsageError
from ...shared.store.feature_store import FeatureStore
from .dataset import Dataset, open_dataset, target_rows
from .protocol import Fold
from .streams import select_streams, stream_warnings, wanted_streams

TEST, NUMBER = "{test}", "{fold}"
"""Placeholders of a template: the name of the fold's test group, and the number of the fold."""


def fold_templates(settings: TrainSettings) -> dict[str, str]:
    """The templates of `fold_features` by input.

    Raises:
        UsageError: a template has no placeholder or is not of a wanted modality, or a modality has two streams.
    """
    templates: dict[str, str] = {}
    wanted = wanted_streams(settings)
    for template in settings.fold_features:
        modality = modality_of(template)
        if TEST not in template and NUMBER not in template:
            raise UsageError(
                f"--fold-features: expected a stream name with {TEST} or {NUMBER}, such as audio/ft-{TEST}, got "
                f"{template}; add one, or name a stream that all folds share with --streams"
            )
        if modality in templates:
            raise UsageError(
                f"--fold-features: expected one name for {modality}, got {templates[modality]} and {template}; leave "
                "one out"
            )
        named = [name for name in settings.streams if modality_of(name) == modality and "/" in name]
        if named:
            raise UsageError(
                f"--streams {named[0]}: expected one stream of {modality}, but --fold-features names {template}; "
                f"write {modality} in --streams, or leave the template out"
            )
        if modality not in wanted:
            raise UsageError(
                f"--fold-features: expected a stream of {' or '.join(wanted)}, such as {next(iter(wanted))}/ft-{TEST}, "
                f"got {template}; correct the name, or add {modality} to --streams"
            )
        templates[modality] = template
    return templates


def fold_settings(settings: TrainSettings, number: int, test: str) -> TrainSettings:
    """The settings of one fold: each template is replaced by the stream of the fold.

    Args:
        settings: settings of the run.
        number: number of the fold, from 1.
        test: name of its test group.
    """
    templates = fold_templates(settings)
    if not templates:
        return settings
    streams = tuple(_filled(templates.get(name, name), number, test) for name in settings.streams)
    return settings.model_copy(update={"streams": streams, "fold_features": ()})


def tested_groups(folds: Sequence[Fold]) -> dict[int, str]:
    """The test group of each fold by its number."""
    return {fold.number: fold.test for fold in folds}


def run_stream_names(store: FeatureStore, settings: TrainSettings) -> dict[str, str]:
    """The stream of each input of a run; where it differs by fold, its template.

    Raises TrainingError if a stream is missing or has to be chosen.
    """
    templates = fold_templates(settings)
    wanted = wanted_streams(settings)
    shared = select_streams(store, {name: stream for name, stream in wanted.items() if name not in templates})
    return {name: templates.get(name) or shared[name] for name in wanted}


def with_fold_streams(
    data: Dataset,
    path: Path,
    settings: TrainSettings,
    tests: Mapping[int, str],
) -> Dataset:
    """Describe the streams of all folds in a dataset that was opened without features; no value is read.

    Args:
        data: the dataset; returned as it is if all folds share their streams.
        path: feats.h5.
        settings: settings of the run.
        tests: test group by number of the fold.

    Returns:
        The dataset with the streams, their provenance and rates by stream name, and the warnings of all of them.

    Raises:
        TrainingError: feats.h5 has no stream for a fold.
    """
    templates = fold_templates(settings)
    if not templates:
        return data
    with FeatureStore(path) as store:
        names = run_stream_names(store, settings)
        fold_streams = {}
        for number, test in tests.items():
            own = {key: _filled(template, number, test) for key, template in templates.items()}
            for name in own.values():
                if name not in store.streams:
                    raise TrainingError(
                        f"{path}: expected the stream {name} for fold {number} (test {test}), got only "
                        f"{', '.join(store.streams)}; extract or import it, or change --fold-features"
                    )
            fold_streams[number] = {key: own.get(key, name) for key, name in names.items()}
        used = list(dict.fromkeys(name for streams in fold_streams.values() for name in streams.values()))
        _, _, rows = target_rows(store, settings, data.classes)
        missing = [text for name in used for text in stream_warnings(store, rows, {modality_of(name): name})]
        provenance = store.provenance()
        rates = {name: min(rate := store.streams[name].rate_hz, settings.frame_rate or rate) for name in used}
    return replace(
        data,
        stream_names=names,
        fold_streams=fold_streams,
        rates=rates,
        provenance={name: provenance[name] for name in used},
        warnings=(*data.warnings, *dict.fromkeys(missing)),
    )


class FoldDatasets:
    """Opens the dataset of one fold, frames or vectors of dialogs, and closes the one before; one is open at a time."""

    def __init__(
        self,
        path: Path,
        settings: TrainSettings,
        *,
        classes: Sequence[str] | None,
        device: torch.device,
    ) -> None:
        """Prepare the opening; nothing is read.

        Args:
            path: feats.h5.
            settings: settings of the run; sequences are opened uncut, except those that become vectors.
            classes: class names (None: every label that occurs).
            device: device of the features in memory.
        """
        self._path = path
        self._settings = settings
        self._classes = classes
        self._device = device
        self._stack = ExitStack()
        self._opened: tuple[tuple[str, ...], bool] | None = None
        self._data: Dataset | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, settings: TrainSettings) -> Dataset:
        """The dataset with the streams and of the kind of head of these settings, which contain no templates."""
        wanted = (settings.streams, settings.over_dialogs)
        if self._data is None or wanted != self._opened:
            self.close()
            # Frames are cut before they are pooled to vectors, other sequences for each fit.
            longest = self._settings.max_seconds if settings.over_dialogs else None
            changes = {
                "streams": settings.streams,
                "fold_features": (),
                "max_seconds": longest,
                "fusion": settings.fusion,
            }
            opened = open_dataset(self._path, self._settings.model_copy(update=changes), classes=self._classes)
            self._data = self._stack.enter_context(opened).to(self._device)
            self._opened = wanted
        return self._data

    def close(self) -> None:
        """Close the dataset that is open."""
        self._data = None
        self._stack.close()


def _filled(template: str, number: int, test: str) -> str:
    return template.replace(NUMBER, str(number)).replace(TEST, test)
