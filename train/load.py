"""From an open feats.h5 to the dataset that is trained on."""

from collections.abc import Mapping, Sequence

import torch

from ..shared.errors import TrainingError
from ..shared.index import FeatureStore
from ..shared.settings import modality_of
from ..shared.utterance import Utterance
from .data import Dataset, Stream, averaged


def chosen_names(store: FeatureStore, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """The features to train on, by modality: those named, else the only ones of the modality, else the unnamed ones.

    Raises TrainingError if there are none, or several of which none can be preferred.
    """
    chosen: dict[str, str] = {}
    for modality, name in wanted.items():
        there = [stream for stream in store.modalities if modality_of(stream) == modality]
        if name in there or (name is None and modality in there):
            chosen[modality] = name or modality
        elif name is None and len(there) == 1:
            chosen[modality] = there[0]
        elif name is None and there:
            raise TrainingError(f"{store.path} holds {', '.join(there)}: say which with --{modality}")
        else:
            known = ", ".join(store.modalities) or "none"
            called = f" called {name}" if name else ""
            raise TrainingError(
                f"{store.path}: expected {modality} features{called}, got only {known}; extract them, or train with "
                f"--modalities or --{modality} set to what is there"
            )
    return chosen


def load_dataset(
    store: FeatureStore, *, names: Mapping[str, str], classes: Sequence[str] | None, frame_rate: float | None
) -> Dataset:
    """Read features of all utterances that have one of the classes (default: every label there is).

    `names` says under which name those of each modality are in the store (see `chosen_names`).
    Faster streams are averaged to `frame_rate` frames per second (Hz; None leaves them as they are). Raises
    TrainingError if a modality is not in the store, fewer than two classes remain, or an utterance belongs to no
    session or fold.
    """
    known = tuple(classes) if classes else tuple(sorted({u.label for u in store.utterances if u.label}))
    if len(known) < 2:
        raise TrainingError(f"{store.path}: expected at least two classes, got {', '.join(known) or 'no label at all'}")
    rows = [row for row, utterance in enumerate(store.utterances) if utterance.label in known]
    kept = [store.utterances[row] for row in rows]
    if not kept:
        raise TrainingError(f"{store.path}: no utterance has one of the labels {', '.join(known)}")
    group_kind, groups = _groups(kept, store)
    streams = {modality: _read_stream(store, name, rows, frame_rate) for modality, name in names.items()}
    number = {name: i for i, name in enumerate(known)}
    return Dataset(
        ids=tuple(utterance.id for utterance in kept),
        # A speaker's name is his only within the corpus; nobody's name makes an utterance its own speaker.
        speakers=tuple(f"{u.corpus}/{u.speaker}" if u.speaker else f"{u.corpus}//{u.id}" for u in kept),
        groups=groups,
        group_kind=group_kind,
        classes=known,
        labels=torch.tensor([number[utterance.label] for utterance in kept]),
        streams=streams,
        notes=(*_notes_on_labels(store.utterances, known), *_notes_on_streams(streams)),
    )


def _read_stream(store: FeatureStore, name: str, rows: list[int], frame_rate: float | None) -> Stream:
    packed = store.packed(name, rows)
    stream = Stream.of(
        torch.from_numpy(packed.values), torch.from_numpy(packed.valid), torch.from_numpy(packed.offsets)
    )
    rate_hz = store.modalities[name].rate_hz
    return averaged(stream, rate_hz=rate_hz, to_hz=frame_rate or rate_hz)


def _groups(kept: Sequence[Utterance], store: FeatureStore) -> tuple[str, tuple[str, ...]]:
    """The manifest's folds if every utterance has one, else its sessions."""
    if all(utterance.fold for utterance in kept):
        return "fold", tuple(utterance.fold for utterance in kept)
    for utterance in kept:
        if not utterance.session:
            raise TrainingError(
                f"{store.path}: utterance {utterance.id!r} belongs to no session, and not every utterance has a fold; "
                "fill one of the two columns in the manifest"
            )
    return "session", tuple(utterance.session for utterance in kept)


def _notes_on_labels(utterances: Sequence[Utterance], classes: Sequence[str]) -> list[str]:
    notes = []
    if missing := sum(not utterance.label for utterance in utterances):
        notes.append(f"{missing} of {len(utterances)} utterances left out: they have no label")
    if others := sorted({u.label for u in utterances if u.label} - set(classes)):
        count = sum(utterance.label in others for utterance in utterances)
        notes.append(f"{count} of {len(utterances)} utterances left out: their label is {', '.join(others)}")
    return notes


def _notes_on_streams(streams: Mapping[str, Stream]) -> list[str]:
    notes = []
    for name, stream in streams.items():
        owner = torch.repeat_interleave(torch.arange(len(stream.lengths)), stream.lengths)
        counts = torch.bincount(owner[stream.valid[: len(owner)]], minlength=len(stream.lengths))
        if missing := int((counts == 0).sum()):
            notes.append(f"{missing} of {len(counts)} utterances have no {name}: a learned placeholder stands in")
    return notes
