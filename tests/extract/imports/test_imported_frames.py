"""One imported array: shapes, number types, and frames that hold no data."""

from typing import Any, Literal

import numpy as np
import pytest

from foal.extract.imports.imported_frames import DEFAULT_RULES, FrameRules, read_frames
from foal.shared.errors import StoreError


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
@pytest.mark.parametrize("dtype", ["float16", "float64", "int16", "uint8"])
def test_a_vector_is_one_frame(shape: tuple[int, ...], dtype: str) -> None:
    frames = read_frames(np.ones(shape, dtype), "face", DEFAULT_RULES, "float16", "here")
    assert frames.values.tolist() == [[1, 1, 1, 1]]
    assert frames.valid.tolist() == [True]
    assert (frames.zero, frames.nan) == (0, 0)


@pytest.mark.parametrize(
    ("modality", "zeros", "valid"),
    [
        ("face", None, [False, True, False]),
        ("face", "valid", [True, True, False]),
        ("audio", None, [True, True, False]),
        ("audio", "invalid", [False, True, False]),
    ],
)
def test_the_rules_decide_which_frames_are_valid(
    modality: str, zeros: Literal["invalid", "valid"] | None, valid: list[bool]
) -> None:
    array = np.array([[0, 0], [0, 1], [np.nan, 0]])
    frames = read_frames(array, modality, FrameRules(nan="invalid", zeros=zeros), "float16", "here")
    assert frames.valid.tolist() == valid
    assert frames.values.tolist() == [[0, 0], [0, 1], [0, 0]]
    assert (frames.zero, frames.nan) == (1, 1)
    assert np.isnan(array[2, 0])


def test_audio_of_nothing_but_zeros_and_nan_is_invalid() -> None:
    array = np.array([[0, 0], [np.nan, 0]])
    assert not read_frames(array, "audio", FrameRules(nan="invalid"), "float16", "here").valid.any()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(["a"]), "expected an array of numbers, got one of type <U1"),
        (np.array(1.0), r"expected an array of shape \(width,\) or \(frames, width\), got \(\)"),
        (np.ones((2, 2, 2)), r"got \(2, 2, 2\)"),
        (np.array([[1, 2], [np.inf, 1]]), "got NaN or infinite ones in 1 of 2 frames; .*--nan invalid"),
        (np.array([1, 7e4]), r"the values are too large for float16 \(70000\); set extract\.dtype to float32"),
    ],
)
def test_other_arrays_are_refused(array: Any, message: str) -> None:
    with pytest.raises(StoreError, match=f"^here: .*{message}"):
        read_frames(array, "audio", DEFAULT_RULES, "float16", "here")
