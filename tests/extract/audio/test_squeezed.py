"""SEW: inner layers at half of the frame rate, repeated; test_families.py compares it with transformers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from foal.extract.audio.encoder import AudioEncoder
from foal.tests.extract.audio.waveforms import encode_one, wave
from foal.tests.extract.small_audio_models import save_family


def test_inner_states_are_stored_twice_and_an_odd_last_frame_is_zero(
    tmp_path: Path, load: Callable[..., AudioEncoder]
) -> None:
    states = encode_one(load(save_family(tmp_path / "sew", "sew"), layers="all"), wave(1.0))
    assert states.shape == (49, 3, 16)
    np.testing.assert_array_equal(states[0:48:2, :2], states[1:48:2, :2])
    assert np.abs(states[0:48:2, 2] - states[1:48:2, 2]).max() > 0
    assert not states[48].any()
