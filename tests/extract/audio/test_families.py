"""Whisper, Wav2Vec2-BERT, UniSpeech, SEW and MMS: equal to a plain loop over processor and model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.extract.audio.encoder import AudioEncoder
from foal.shared.errors import EncoderError
from foal.tests.extract.audio.waveforms import encode_one, wave
from foal.tests.extract.small_audio_models import MODELS, plain_states, save_family

Load = Callable[..., AudioEncoder]

LENGTHS = (1.31, 0.5, 1.9, 0.041, 1.33)
"""Seconds: of even and odd numbers of frames."""

SQUEEZE = 2
"""Of SEW: its layers have half as many frames."""


@pytest.fixture(scope="module", params=MODELS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(tmp_path_factory.mktemp("family") / request.param, request.param)


def expected_frames(family: str, samples: int) -> int:
    if family == "whisper":
        return -(-samples // 320)
    return (samples - (560 if family == "wav2vec2-bert" else 400)) // 320 + 1


def test_every_layer_equals_that_of_transformers(family: Path, load: Load) -> None:
    for seconds in (1.31, 1.33):
        samples = wave(seconds)
        last, states = plain_states(family, samples)
        frames = expected_frames(family.name, len(samples))
        actual = encode_one(load(family), samples)
        assert actual.shape == (frames, 16)
        np.testing.assert_allclose(actual, last[:frames], rtol=1e-5, atol=1e-5)

        layers = encode_one(load(family, layers="all"), samples)
        assert layers.shape == (frames, 3, 16)
        np.testing.assert_array_equal(layers[:, 2], actual)
        for layer, state in enumerate(states[:-1]):
            if family.name == "sew":
                state = np.zeros((frames, 16)) + np.pad(state.repeat(SQUEEZE, 0), ((0, frames % SQUEEZE), (0, 0)))
            np.testing.assert_allclose(layers[:, layer], state[:frames], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(encode_one(load(family, layers="mean"), samples), layers.mean(1), atol=1e-6)
        np.testing.assert_array_equal(encode_one(load(family, layers=(-1, 0)), samples), layers[:, [2, 0]])


@pytest.mark.parametrize("layers", ["last", "all"])
def test_a_batch_changes_nothing(family: Path, layers: str, load: Load) -> None:
    waves = [wave(seconds, number) for number, seconds in enumerate(LENGTHS)]
    batched = load(family, layers=layers, batch_seconds=100).encode(waves)
    for samples, values in zip(waves, batched, strict=True):
        expected = encode_one(load(family, layers=layers), samples)
        assert values.shape == expected.shape
        assert np.linalg.norm(values - expected) <= 1e-5 * np.linalg.norm(expected)


def test_windows_of_long_audio_agree_with_undivided_encoding(family: Path, load: Load) -> None:
    if family.name == "whisper":
        pytest.skip("it cannot encode the whole at once; test_spectrogram.py compares its windows")
    samples = wave(5.003)
    undivided, windowed = encode_one(load(family), samples), encode_one(load(family, max_seconds=2), samples)
    assert undivided.shape == windowed.shape == (expected_frames(family.name, len(samples)), 16)
    error = np.linalg.norm(undivided - windowed, axis=1) / np.linalg.norm(undivided, axis=1).clip(1e-6)
    assert np.median(error) < 0.05


@pytest.mark.parametrize("samples", [1, 300, 400, 560, 719])
def test_short_audio_gives_at_least_one_frame(family: Path, samples: int, load: Load) -> None:
    values = encode_one(load(family), wave(samples / 16000))
    assert 1 <= len(values) <= 3
    assert np.isfinite(values).all()


def test_a_receptive_field_other_than_25_ms_is_refused(tmp_path: Path, load: Load) -> None:
    folder = save_family(tmp_path / "model", "unispeech-sat")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "conv_kernel": [10, 3, 3, 3, 3, 2, 3]}))
    with pytest.raises(EncoderError, match=r"cover 400 samples \(25 ms\), got 560"):
        load(folder)
