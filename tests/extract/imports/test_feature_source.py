"""Imported arrays of any format: frames without data, empty and transposed arrays."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foal.extract.imports.feature_source import FeatureSource, check_source
from foal.extract.imports.imported_frames import FrameRules
from foal.shared.errors import StoreError


class Arrays:
    """Arrays in memory, as a reader."""

    place = name = "arrays"

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = arrays

    @property
    def ids(self) -> Collection[str]:
        return self.arrays.keys()

    def where(self, utterance_id: str) -> str:
        return f"arrays, id {utterance_id}"

    def read(self, utterance_id: str) -> NDArray[Any]:
        return self.arrays[utterance_id]


def check(arrays: Mapping[str, NDArray[Any]], modality: str = "face", **rules: Any) -> FeatureSource:
    return check_source(modality, Arrays(arrays), FrameRules(**rules), "float16")


def with_rows_of(value: float) -> dict[str, NDArray[Any]]:
    """Five frames of u0, of which two are `value`; u1 has no other frame; u2 is complete."""
    u0 = np.arange(1.0, 16.0).reshape(5, 3)
    u0[1:3] = value
    return {"u0": u0, "u1": np.full(3, value), "u2": np.ones((4, 3))}


def test_frames_of_zeros_are_no_face(messages: pytest.LogCaptureFixture) -> None:
    source = check(with_rows_of(0))
    assert source.read("u0").valid.tolist() == [True, False, False, True, True]
    assert source.read("u1").valid.tolist() == [False]
    assert source.read("u2").valid.all()
    assert source.frames == {"u0": 5, "u1": 1, "u2": 4}
    assert "face: 3 of 10 frames are zeros (no face) and were marked invalid; --zeros valid keeps them" in messages.text
    assert check(with_rows_of(0), zeros="valid").read("u0").valid.all()
    assert "face: 3 of 10 frames are zeros and were kept as valid: 2 utterances (u0, u1)" in messages.text


def test_frames_of_zeros_are_silence_unless_there_is_nothing_else(messages: pytest.LogCaptureFixture) -> None:
    source = check(with_rows_of(0), "audio")
    assert source.read("u0").valid.all()
    assert source.read("u1").valid.tolist() == [False]
    assert "audio: 3 of 10 frames are zeros and were kept as silence, except those of utterances" in messages.text
    assert "1 utterance (u1); --zeros invalid" in messages.text
    assert check(with_rows_of(0), "audio", zeros="invalid").read("u0").valid.tolist() == [
        True,
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("modality", ["audio", "face"])
def test_frames_of_nan_are_invalid_where_the_user_says_so(
    messages: pytest.LogCaptureFixture, value: float, modality: str
) -> None:
    arrays = with_rows_of(value)
    with pytest.raises(StoreError, match=r"^arrays, id u0: .* in 2 of 5 frames; .* --nan invalid$"):
        check(arrays, modality)
    # One number suffices.
    arrays["u2"] = np.array([[1, 2, value], [4, 5, 6]])
    source = check(arrays, modality, nan="invalid")
    read = source.read("u0")
    assert read.valid.tolist() == [True, False, False, True, True]
    assert (read.values[1:3] == 0).all()
    assert source.read("u1").valid.tolist() == [False]
    assert source.read("u2").valid.tolist() == [False, True]
    assert f"{modality}: 4 of 8 frames have NaN or infinite numbers and were marked invalid" in messages.text


def test_the_range_is_that_of_the_other_frames() -> None:
    arrays = {"u0": np.array([[np.nan, 1e9], [1, 2]])}
    assert check(arrays, nan="invalid").read("u0").values.tolist() == [[0, 0], [1, 2]]


def test_an_empty_array_is_a_missing_modality(messages: pytest.LogCaptureFixture) -> None:
    source = check({"u0": np.zeros((0, 7)), "u1": np.ones((2, 3)), "u2": np.zeros(0, np.float16)})
    assert (source.width, source.frames, source.empty) == (3, {"u1": 2}, {"u0", "u2"})
    assert "face: empty arrays, taken as a missing modality: 2 utterances (u0, u2)" in messages.text


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"u0": np.zeros(0), "u1": np.zeros((0, 3))}, "all 2 arrays are empty"),
        ({"u0": np.zeros((4, 3)), "u1": np.zeros(3)}, "no frame has data: 5 of zeros, 0 with NaN .*--zeros valid"),
    ],
)
def test_a_source_without_data_is_refused(arrays: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(StoreError, match=f"^arrays: {message}"):
        check(arrays)


def test_transposed_arrays_are_refused_with_a_hint() -> None:
    arrays = {f"u{number}": np.ones((768, number + 40)) for number in range(6)}
    with pytest.raises(
        StoreError, match=r"look transposed: all of them have 768 rows, and 40 to 45 columns; .*array\.T"
    ):
        check(arrays)
    assert check({name: array.T for name, array in arrays.items()}).width == 768


@pytest.mark.parametrize(
    ("shapes", "where"),
    [
        # One wrong file, single vectors, and one width but for the last.
        ([(16, 8), (16, 8), (16, 8), (16, 9)], "u3"),
        ([(8,), (9,), (10,)], "u1"),
        ([(5, 8), (6, 8), (7, 9)], "u2"),
    ],
)
def test_other_widths_name_the_file(shapes: list[tuple[int, ...]], where: str) -> None:
    with pytest.raises(
        StoreError, match=rf"^arrays, id {where}: expected 8 numbers per frame as in arrays, id u0, got"
    ):
        check({f"u{number}": np.ones(shape) for number, shape in enumerate(shapes)})
