"""FeatureStore: features by utterance, from shards or packed."""

import os
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from foal.shared.errors import StoreError
from foal.shared.store.feature_store import FeatureStore, Packed
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import ShardReader
from foal.shared.utterance import Utterance
from foal.tests.verification import verify_target

KEYS = {"audio": "0" * 64, "face": "0" * 64}


def read_from_shards(features: Path, utterance: Utterance, modality: str) -> np.ndarray:
    """The features of an utterance, read without the index by searching all shards for its id."""
    for path in sorted((features / utterance.split).glob(f"{modality}-*/*.h5")):
        with ShardReader(path) as shard:
            if utterance.id in shard.ids:
                return np.asarray(shard.entry(shard.ids.index(utterance.id)).values)
    raise AssertionError(utterance.id)


def test_the_store_returns_the_manifest_and_the_features_of_each_utterance(
    store_path: Path, sample_utterances: list[Utterance]
) -> None:
    with FeatureStore(str(store_path)) as store:
        assert list(store.utterances) == sample_utterances
        assert store.random_weights
        assert {name: modality.width for name, modality in store.streams.items()} == {"audio": 8, "face": 6}
        for modality in KEYS:
            packed = store.packed(modality)
            for row, utterance in enumerate(sample_utterances):
                values = packed.values[packed.offsets[row] : packed.offsets[row + 1]]
                np.testing.assert_array_equal(
                    values, read_from_shards(store_path.parent / "features", utterance, modality)
                )
            assert packed.valid.sum() == store.valid_frames(modality).sum()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.integers(0, 17), max_size=40))
def test_any_rows_can_be_read_in_any_order(store_path: Path, rows: list[int]) -> None:
    with FeatureStore(store_path) as store:
        all_rows, selected = store.packed("audio"), store.packed("audio", rows)
        for position, row in enumerate(rows):
            np.testing.assert_array_equal(
                selected.values[selected.offsets[position] : selected.offsets[position + 1]],
                all_rows.values[all_rows.offsets[row] : all_rows.offsets[row + 1]],
            )


def test_a_packed_index_gives_the_same_features_without_its_shards(
    store_path: Path, tmp_path: Path, sample_utterances: list[Utterance]
) -> None:
    packed_path = tmp_path / "elsewhere" / "packed.h5"
    write_index(packed_path, sample_utterances, tmp_path / "features", KEYS, pack=True)
    with FeatureStore(store_path) as store, FeatureStore(packed_path) as packed:
        assert packed.digest == store.digest
        for modality in KEYS:
            from_shards, from_packed = store.packed(modality, [5, 3, 11]), packed.packed(modality, [5, 3, 11])
            np.testing.assert_array_equal(from_shards.values, from_packed.values)
            np.testing.assert_array_equal(from_shards.valid, from_packed.valid)
    assert verify_target(packed_path) == (1, [])


def test_index_and_shards_can_be_moved_together(store_path: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    os.rename(store_path, tmp_path / "moved" / "feats.h5")
    os.rename(tmp_path / "features", tmp_path / "moved" / "features")
    with FeatureStore(tmp_path / "moved" / "feats.h5") as store:
        assert len(store.packed("face").offsets) == 19


def test_read_returns_the_values_and_validity_of_one_utterance(
    store_path: Path, sample_utterances: list[Utterance]
) -> None:
    with FeatureStore(store_path) as store:
        assert len(store) == len(sample_utterances)
        (row,) = store.rows([sample_utterances[7].id])
        assert row == 7
        values, valid = store.read("audio", row)
        np.testing.assert_array_equal(
            values, read_from_shards(store_path.parent / "features", sample_utterances[7], "audio")
        )
        assert valid.shape == values.shape[:1] == (store.lengths("audio")[7],)
        with pytest.raises(StoreError, match="expected the id of one of its utterances, got 'missing'"):
            store.rows(["missing"])
        with pytest.raises(StoreError, match=r"expected one of its streams \(audio, face\), got 'text'"):
            store.read("text", 0)
        for outside in (-1, len(store)):
            with pytest.raises(IndexError, match="expected a row from 0 to 17"):
                store.read("audio", outside)


def test_a_pickled_store_opens_its_file_on_first_use(
    store_path: Path, tmp_path: Path, sample_utterances: list[Utterance]
) -> None:
    with FeatureStore(store_path) as store:
        before, content = store.packed("face"), pickle.dumps(store)
    assert len(content) < 1000
    copies = [pickle.loads(content), pickle.loads(content)]
    assert copies[0].utterances == tuple(sample_utterances)
    np.testing.assert_array_equal(copies[0].packed("face").values, before.values)
    write_index(store_path, sample_utterances[1:], tmp_path / "features", KEYS)
    with pytest.raises(StoreError, match="has been replaced since this store was opened"):
        len(copies[1])


@pytest.mark.slow
# A spawned worker imports PyTorch, which takes seconds.
@pytest.mark.parametrize(("start_method", "workers"), [("fork", 2), ("spawn", 1)])
def test_a_store_works_in_the_workers_of_a_data_loader(store_path: Path, start_method: str, workers: int) -> None:
    with FeatureStore(store_path) as store:
        all_rows = store.packed("audio")
        loader: DataLoader[Packed] = DataLoader(
            range(len(store)),  # type: ignore[arg-type]  # a map-style dataset of rows
            batch_size=5,
            num_workers=workers,
            multiprocessing_context=start_method,
            timeout=120,
            collate_fn=partial(store.packed, "audio"),
        )
        batches = list(loader)
    np.testing.assert_array_equal(np.concatenate([batch.values for batch in batches]), all_rows.values)
    np.testing.assert_array_equal(np.concatenate([batch.valid for batch in batches]), all_rows.valid)
