"""Reading the tables of feats.h5."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import h5py
import pytest

from foal.shared.errors import StoreError
from foal.shared.hdf5.opening import FutureError
from foal.shared.hdf5.seal import SEAL_SIZE
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance

KEYS = {"audio": "0" * 64, "face": "0" * 64}
EditSealed = Callable[[Path], AbstractContextManager[h5py.File]]


def test_an_index_of_an_older_version_is_refused_with_a_remedy(store_path: Path, edit_sealed: EditSealed) -> None:
    with edit_sealed(store_path) as file:
        file.attrs["version"] = 4
    with pytest.raises(StoreError) as caught:
        FeatureStore(store_path)
    assert (
        str(caught.value) == f"{store_path}: index format 4 (foal 0.1); this version reads format 5; run `foal index`"
    )


@pytest.mark.parametrize("damage", ["text", "truncated", "other format", "future", "no table"])
def test_a_broken_index_is_refused(store_path: Path, edit_sealed: EditSealed, damage: str) -> None:
    if damage == "text":
        store_path.write_text("id,label")
    elif damage == "truncated":
        store_path.write_bytes(store_path.read_bytes()[:700])
    else:
        with edit_sealed(store_path) as file:
            if damage == "no table":
                del file["utterances/label"]
            else:
                file.attrs["format" if damage == "other format" else "version"] = 99
    with pytest.raises(FutureError if damage == "future" else StoreError, match=r"feats\.h5"):
        FeatureStore(store_path)


def test_the_seal_of_a_large_index_is_verified_too(store_path: Path, sample_utterances: list[Utterance]) -> None:
    content = bytearray(store_path.read_bytes())
    label = sample_utterances[0].label.encode()
    at = content.index(label)
    content[at : at + len(label)] = label[::-1]
    store_path.write_bytes(content)
    counts: list[int] = []
    with pytest.raises(StoreError, match="the content does not match its checksum"):
        FeatureStore(store_path, verify_up_to_bytes=0, on_bytes=counts.append)
    assert sum(counts) == len(content) - SEAL_SIZE


def test_a_large_packed_index_is_verified_without_its_values(
    store_path: Path, sample_utterances: list[Utterance]
) -> None:
    write_index(store_path, sample_utterances, store_path.parent / "features", KEYS, pack=True)
    content = store_path.read_bytes()
    counts: list[int] = []
    with FeatureStore(store_path, verify_up_to_bytes=0, on_bytes=counts.append) as store:
        assert store.packed_inside
        values = sum(store.packed(name).values.nbytes for name in store.streams)
    assert 0 < sum(counts) < len(content) - SEAL_SIZE - values
    label = sample_utterances[0].label.encode()
    store_path.write_bytes(content.replace(label, label[::-1], 1))
    with pytest.raises(StoreError, match="the content does not match its checksum"):
        FeatureStore(store_path, verify_up_to_bytes=0)


def test_a_damaged_value_of_a_large_packed_index_is_found_when_it_is_read(
    store_path: Path, sample_utterances: list[Utterance]
) -> None:
    write_index(store_path, sample_utterances, store_path.parent / "features", KEYS, pack=True)
    with FeatureStore(store_path) as store:
        (name, *_) = store.streams
        bytes_of_values = store.packed(name).values.tobytes()
    content = bytearray(store_path.read_bytes())
    content[content.index(bytes_of_values)] ^= 1
    store_path.write_bytes(content)
    with FeatureStore(store_path, verify_up_to_bytes=0) as store, pytest.raises(StoreError, match="checksum"):
        store.packed(name)
