"""The checksum of features, and the check for NaN and infinity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from foal.shared.store.entry import feature_checksum, finite


@given(npst.arrays(np.uint16, st.integers(0, 40)))
def test_finite_agrees_with_numpy_for_every_float16(bits: np.ndarray) -> None:
    values = bits.view(np.float16)
    assert finite(values) == np.isfinite(values).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_nan_and_infinity_are_not_finite(dtype: type) -> None:
    values: np.ndarray = np.ones((3, 4), dtype)
    assert finite(values)
    for number in (np.nan, np.inf, -np.inf):
        values[1, 2] = number
        assert not finite(values)


def test_the_checksum_depends_on_values_validity_and_origin() -> None:
    values, valid = np.ones((2, 3), np.float16), np.array([True, False])
    checksums = {
        feature_checksum(values, valid, 0.0),
        feature_checksum(2 * values, valid, 0.0),
        feature_checksum(values, ~valid, 0.0),
        feature_checksum(values, valid, 0.5),
    }
    assert len(checksums) == 4
    assert feature_checksum(values[:, ::-1], valid, 0.0) in checksums  # equal values, not contiguous
