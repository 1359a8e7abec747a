from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from foal.shared.errors import TrainingError
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance
from foal.train.data.torch_dataset import FeatureDataset


def test_items_are_the_stored_features(feats: Path) -> None:
    dataset = FeatureDataset(feats)
    assert (len(dataset), dataset.classes, dataset.streams) == (18, ("hap", "sad"), ("audio", "face"))
    with FeatureStore(feats) as store:
        for row, utterance in enumerate(store.utterances):
            item = dataset[row]
            assert (item["id"], dataset.classes[int(item["label"])]) == (utterance.id, utterance.label)
            for name in ("audio", "face"):
                packed = store.packed(name, [row])
                assert item["values"][name].dtype == torch.float32
                np.testing.assert_array_equal(item["values"][name], packed.values.astype(np.float32))
                np.testing.assert_array_equal(item["masks"][name], packed.valid)


def test_streams_sessions_and_rows_are_selected(feats: Path) -> None:
    dataset = FeatureDataset(feats, streams=["face"], sessions=["session1"])
    assert [dataset[i]["id"] for i in range(len(dataset))] == ["u0", "u3", "u6", "u9", "u12", "u15"]
    assert list(dataset[0]["values"]) == ["face"]
    assert [item["id"] for item in map(FeatureDataset(feats, rows=[5, 2]).__getitem__, range(2))] == ["u5", "u2"]


def test_utterances_of_other_labels_are_excluded(
    tmp_path: Path, sample_utterances: list[Utterance], make_index: Callable[..., Path]
) -> None:
    utterances = [replace(u, label=("", "neu")[i]) if i < 2 else u for i, u in enumerate(sample_utterances)]
    path = make_index(tmp_path, utterances)
    assert len(FeatureDataset(path, classes=["hap", "sad"])) == 16
    assert FeatureDataset(path).classes == ("hap", "neu", "sad")


def test_unknown_selections_are_refused(feats: Path) -> None:
    with pytest.raises(TrainingError, match="expected streams audio, face, got 'text'"):
        FeatureDataset(feats, streams=["text"])
    with pytest.raises(TrainingError, match="no utterance of these classes, sessions and rows"):
        FeatureDataset(feats, sessions=["session9"])


def test_collate_pads_with_zeros_and_masks_the_padding(feats: Path) -> None:
    dataset = FeatureDataset(feats)
    items = [dataset[i] for i in range(5)]
    batch = dataset.collate(items)
    assert batch["ids"] == [item["id"] for item in items]
    assert batch["labels"].tolist() == [int(item["label"]) for item in items]
    for name, width in (("audio", 8), ("face", 6)):
        longest = max(len(item["values"][name]) for item in items)
        assert batch["values"][name].shape == (5, longest, width)
        for i, item in enumerate(items):
            t = len(item["values"][name])
            assert torch.equal(batch["values"][name][i, :t], item["values"][name])
            assert torch.equal(batch["masks"][name][i, :t], item["masks"][name])
            assert not batch["values"][name][i, t:].any()
            assert not batch["masks"][name][i, t:].any()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_the_same_items(feats: Path, method: str) -> None:
    dataset = FeatureDataset(feats)
    items = [dataset[i] for i in range(len(dataset))]  # the file is open before the workers start
    loader = DataLoader(
        dataset, batch_size=7, num_workers=2, multiprocessing_context=method, collate_fn=dataset.collate, timeout=120
    )
    batches = list(loader)
    assert [name for batch in batches for name in batch["ids"]] == [item["id"] for item in items]
    for start, batch in zip(range(0, 18, 7), batches, strict=True):
        expected = dataset.collate(items[start : start + 7])
        for name in ("audio", "face"):
            assert torch.equal(batch["values"][name], expected["values"][name])
            assert torch.equal(batch["masks"][name], expected["masks"][name])
