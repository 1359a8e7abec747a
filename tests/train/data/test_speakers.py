"""Statistics of speakers: over all their utterances in feats.h5, without labels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import StoreError, TrainingError
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance
from foal.train.data.dataset import open_dataset
from foal.train.data.speakers import SHRINKAGE, SpeakerStatistics

BY_SPEAKER = TrainSettings(normalize="speaker", frame_rate=None)
MakeIndex = Callable[..., Path]


def statistics_of(path: Path, settings: TrainSettings = BY_SPEAKER) -> tuple[SpeakerStatistics, list[Utterance]]:
    with open_dataset(path, settings, classes=["hap", "sad"]) as data:
        assert data.speaker_statistics is not None
        assert data.speaker_statistics.tables
        return data.speaker_statistics, list(data.utterances)


def test_unlabelled_utterances_count_and_labels_do_not(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    unlabelled = [replace(u, label="" if number % 3 == 0 else u.label) for number, u in enumerate(sample_utterances)]
    swapped = [replace(u, label={"hap": "sad", "sad": "hap"}.get(u.label, "")) for u in unlabelled]
    statistics, utterances = statistics_of(make_index(tmp_path / "a", unlabelled))
    other, _ = statistics_of(make_index(tmp_path / "b", swapped))
    assert len(utterances) == 12
    for name in ("audio", "face"):
        assert torch.equal(statistics.tables[name].means, other.tables[name].means)
        assert torch.equal(statistics.tables[name].variances, other.tables[name].variances)
    with FeatureStore(tmp_path / "a" / "feats.h5") as store:
        members = [row for row, u in enumerate(store.utterances) if u.speaker == utterances[0].speaker]
        packed = store.packed("audio", members)
    assert len(members) == 3
    frames = packed.values[packed.valid].astype(np.float64)
    number = int(statistics.rows[0])
    np.testing.assert_allclose(statistics.tables["audio"].means[number], frames.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(statistics.tables["audio"].variances[number], frames.var(0), rtol=1e-5, atol=1e-6)
    assert float(statistics.tables["audio"].weights[number]) == pytest.approx(3 / (3 + SHRINKAGE))


def test_features_on_disk_have_the_same_statistics(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    path = make_index(tmp_path, sample_utterances)
    memory, _ = statistics_of(path)
    disk, _ = statistics_of(path, BY_SPEAKER.model_copy(update={"load": "disk"}))
    for name in ("audio", "face"):
        assert torch.equal(memory.tables[name].means, disk.tables[name].means)


def test_a_manifest_without_speakers_is_refused(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    path = make_index(tmp_path, [replace(u, speaker="") for u in sample_utterances])
    with pytest.raises(TrainingError, match="--normalize speaker needs speakers, but no utterance has one; fill the"):
        statistics_of(path)


def test_a_single_utterance_is_shrunk_most(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    rows = [replace(u, speaker="alone" if number == 0 else u.speaker) for number, u in enumerate(sample_utterances)]
    statistics, _ = statistics_of(make_index(tmp_path, rows))
    weights = statistics.tables["audio"].weights[statistics.rows]
    assert float(weights[0]) == pytest.approx(1 / (1 + SHRINKAGE))
    assert weights[0] < weights[1:].min()
    assert int(statistics.utterances[statistics.rows[0]]) == 1


def test_a_dataset_opened_for_its_index_reads_no_features(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: MakeIndex
) -> None:
    path = make_index(tmp_path, sample_utterances)
    settings = BY_SPEAKER.model_copy(update={"load": "disk"})
    with open_dataset(path, settings, classes=None) as data:
        for shard in path.parent.rglob("shard.h5"):
            shard.rename(shard.with_suffix(".moved"))
        assert data.speaker_statistics is not None
        assert int(data.speaker_statistics.utterances.sum()) == len(data)
        with pytest.raises(StoreError):
            _ = data.speaker_statistics.tables
