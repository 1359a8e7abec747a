"""SEW: hidden states at half of the frame rate are repeated, and the last one is brought back by the model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from foal.extract.audio.encoder import AudioEncoder
from foal.tests.extract.audio.families import save_family
from foal.tests.extract.waveforms import encode_one, wave


def test_inner_layers_change_every_second_frame_and_end_with_zeros(
    tmp_path: Path, load: Callable[..., AudioEncoder]
) -> None:
    encoder = load(save_family(tmp_path / "sew", "sew"), layers="all")
    for samples, frames in ((400 + 8 * 320, 9), (400 + 9 * 320, 10)):
        layers = encode_one(encoder, wave(samples / 16000))
        assert len(layers) == frames
        groups = frames // 2
        for layer in range(layers.shape[1] - 1):
            np.testing.assert_array_equal(layers[0 : 2 * groups : 2, layer], layers[1 : 2 * groups : 2, layer])
            assert (layers[2 * groups :, layer] == 0).all()
        assert (layers[0, -1] != layers[1, -1]).any()
