"""Reading the tables of feats.h5."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import h5py
import pytest

from foal.shared.errors import StoreError
from foal.shared.hdf5.opening import FutureError
from foal.shared.store.feature_store import FeatureStore

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
