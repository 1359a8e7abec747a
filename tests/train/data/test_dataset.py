from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance
from foal.train.data.dataset import Dataset, open_dataset
from foal.train.data.features import InMemory
from foal.train.data.sequences import Batch
from foal.train.data.streams import select_streams

MakeIndex = Callable[..., Path]
BatchOf = Callable[[Dataset, Tensor], Batch]
NAMES = {"audio": "audio", "face": "face"}


def load(path: Path, classes: tuple[str, ...] | None = None, **options: Any) -> Dataset:
    """Load a dataset into memory and close the file."""
    with open_dataset(path, TrainSettings(**{"frame_rate": None, **options}), classes=classes) as data:
        return data


def lengths_of(data: Dataset, modality: str) -> Tensor:
    assert isinstance(data.features, InMemory)
    return data.features.streams[modality].lengths


def test_labelled_utterances_are_loaded_with_their_features(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex, batch_of: BatchOf
) -> None:
    utterances = [
        replace(u, label="" if i == 0 else "xxx" if i == 1 else u.label) for i, u in enumerate(sample_utterances)
    ]
    path = make_index(tmp_path, utterances)
    data, pooled = load(path, ("sad", "hap")), load(path, ("sad", "hap"), streams=("audio",), frame_rate=10.0)
    with FeatureStore(path) as store:
        packed = store.packed("face")
        first = slice(*packed.offsets[2:4])
        assert data.digest == store.digest
    assert data.ids == tuple(f"u{i}" for i in range(2, 18))
    assert data.utterances == tuple(utterances[2:])
    assert data.classes == ("sad", "hap")
    assert data.labels.tolist() == [1, 0] * 8
    assert data.speakers[0] == "test/s2"
    assert data.random_weights
    assert data.provenance["audio"]["encoder"] == "random:test"
    assert torch.equal(
        batch_of(data, torch.tensor([0])).frames["face"].values[0], torch.tensor(packed.values[first]).float()
    )
    assert data.warnings[:2] == (
        "1 of 18 utterances left out: they have no label",
        "1 of 18 utterances left out: their label is xxx",
    )
    assert list(pooled.stream_names) == ["audio"]
    assert int(lengths_of(pooled, "audio").max()) < int(lengths_of(data, "audio").max())
    assert (pooled.rates, data.rates) == ({"audio": 10.0}, {"audio": 50.0, "face": 10.0})


def test_sequences_are_truncated_at_the_maximum_length(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    path = make_index(tmp_path, sample_utterances)
    complete = load(path)
    for truncated in (load(path, max_seconds=0.06), complete.select(["audio", "face"], 0.06)):
        # At 50 and 10 Hz; at least one frame is kept.
        assert torch.equal(lengths_of(truncated, "audio"), lengths_of(complete, "audio").clamp(max=3))
        assert torch.equal(lengths_of(truncated, "face"), lengths_of(complete, "face").clamp(max=1))
    assert int(lengths_of(complete, "face").max()) > 1


def test_speakers_are_unique_across_corpora(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset(4)
    utterances = tuple(
        replace(u, corpus=corpus, speaker=speaker)
        for u, corpus, speaker in zip(data.utterances, "abab", ["s1", "s1", "", ""], strict=True)
    )
    assert replace(data, utterances=utterances).speakers == ("a/s1", "b/s1", "a//u2", "b//u3")


def test_utterances_without_a_modality_are_counted(
    tmp_path: Path, sample_utterances: list[Utterance], make_features: Callable[..., Path]
) -> None:
    features = make_features(tmp_path / "features", sample_utterances)
    write_index(tmp_path / "feats.h5", sample_utterances, features, {"audio": "0" * 64, "face": "0" * 64})
    with FeatureStore(tmp_path / "feats.h5") as store:
        without_face = int((store.valid_frames("face") == 0).sum())
    assert without_face > 0
    assert (
        f"{without_face} of 18 utterances have no face: the network substitutes a learned placeholder"
        in load(store.path).warnings
    )


def test_streams_of_several_encoders_are_selected_by_name(
    tmp_path: Path, sample_utterances: list[Utterance], make_features: Callable[..., Path]
) -> None:
    features = make_features(tmp_path / "features", sample_utterances)
    make_features(features, sample_utterances, widths={"face": 4}, key="1" * 64)
    keys = {"audio": "0" * 64, "face": "0" * 64, "face/clip": "1" * 64}
    write_index(tmp_path / "feats.h5", sample_utterances, features, keys)
    with FeatureStore(tmp_path / "feats.h5") as store:
        assert list(store.streams) == ["audio", "face", "face/clip"]
        assert select_streams(store, {"audio": None, "face": None}) == NAMES
        assert select_streams(store, {"audio": None, "face": "face/clip"}) == {"audio": "audio", "face": "face/clip"}
        with pytest.raises(
            TrainingError, match=r"expected face features named face/dino, got only audio, face, face/clip"
        ):
            select_streams(store, {"face": "face/dino"})
        with pytest.raises(TrainingError, match="expected audio features named face, got only"):
            select_streams(store, {"face": None, "audio": "face"})
    data = load(tmp_path / "feats.h5", streams=("audio", "face/clip"))
    assert data.features.frame_shapes == {"audio": (8,), "face": (4,)}
    assert data.stream_names == {"audio": "audio", "face": "face/clip"}

    write_index(tmp_path / "two.h5", sample_utterances, features, {"face/a": "0" * 64, "face/b": "1" * 64}, pack=True)
    with FeatureStore(tmp_path / "two.h5") as store:
        assert [store.streams[name].width for name in ("face/a", "face/b")] == [6, 4]
        assert np.isfinite(store.packed("face/b").values).all()
        with pytest.raises(TrainingError, match=r"has several face streams, face/a, face/b; choose with --streams"):
            select_streams(store, {"face": None})


def test_unusable_features_and_labels_are_refused(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    path = make_index(tmp_path, sample_utterances, widths={"audio": 3})
    with pytest.raises(TrainingError, match=r"expected face features, got only audio; .*--streams"):
        load(path)
    with pytest.raises(TrainingError, match="expected at least two classes, got sad"):
        load(path, ("sad",), streams=("audio",))
    with pytest.raises(TrainingError, match="no utterance has one of the labels joy, fear"):
        load(path, ("joy", "fear"), streams=("audio",))
    unlabelled = [replace(u, label="") for u in sample_utterances]
    make_index(tmp_path, unlabelled, widths={"audio": 3}, reuse_shards=True)
    with pytest.raises(TrainingError, match="expected at least two classes, got no label at all"):
        load(path, streams=("audio",))


def test_labels_that_differ_in_case_or_spaces_are_a_warning_or_merged(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    spelled = [replace(u, label={0: "Hap", 1: "sad "}.get(i, u.label)) for i, u in enumerate(sample_utterances)]
    path = make_index(tmp_path, spelled, widths={"audio": 3})
    data = load(path, streams=("audio",))
    assert data.classes == ("Hap", "hap", "sad", "sad ")
    assert (
        "labels that differ only in case or spaces: 'hap' 8, 'Hap' 1; --normalize-labels merges them" in data.warnings
    )
    merged = load(path, streams=("audio",), normalize_labels=True)
    assert merged.classes == ("hap", "sad")
    assert merged.labels.tolist() == [0, 1] * 9
    assert [u.label for u in merged.utterances] == ["hap", "sad"] * 9
    assert not any("labels that differ" in warning for warning in merged.warnings)


@pytest.mark.parametrize("kind", ["numbers", "names"])
def test_labels_that_are_no_classes_are_a_question(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex, kind: str
) -> None:
    label = {"numbers": lambda i: str(i % 4 - 1.5), "names": lambda i: f"clip {i}"}[kind]
    path = make_index(tmp_path, [replace(u, label=label(i)) for i, u in enumerate(sample_utterances)])
    with pytest.raises(TrainingError, match=r"Are these classes\? If so, go on with --accept-labels"):
        load(path, streams=("audio",))
    assert len(load(path, streams=("audio",), accept_labels=True).classes) == (4 if kind == "numbers" else 18)
    # Classes that the user names are no question.
    named = (label(0), label(1))
    assert load(path, named, streams=("audio",)).classes == named
