"""The choice of layers."""

import pytest

from foal.extract.encoders.layers import layer_shape, resolve_layers
from foal.shared.errors import EncoderError


def test_layers_are_counted_from_either_end() -> None:
    assert resolve_layers((-1, 0, 3), 12, "model", "key") == (12, 0, 3)
    for text in ("last", "mean", "all"):
        assert resolve_layers(text, 12, "model", "key") == text
    with pytest.raises(EncoderError, match=r"model has 12 layers: expected numbers from 0 .* to 12 in key, got 13"):
        resolve_layers((13,), 12, "model", "key")
    for layers in ((), (12, -1)):
        with pytest.raises(EncoderError, match="key: expected at least one layer and no duplicates"):
            resolve_layers(layers, 12, "model", "key")


def test_the_shape_of_a_frame_has_the_layers() -> None:
    assert [layer_shape(layers, 13) for layers in ("last", "mean", "all", (3, 5))] == [(), (), (13,), (2,)]
