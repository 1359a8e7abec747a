"""Audio encoders return the hidden states of transformers for batches and windows of any size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import (
    AutoModel,
    Wav2Vec2FeatureExtractor,
)

from foal.extract.audio.encoder import AudioEncoder
from foal.extract.audio.loading import load_audio_encoder
from foal.extract.encoders.weights import find_audio_weights
from foal.shared.errors import MediaError
from foal.shared.timing import audio_frames
from foal.tests.extract.audio.waveforms import encode_one, wave

CPU = torch.device("cpu")
Save = Callable[..., Path]
Load = Callable[..., AudioEncoder]


class LimitedMemory(torch.nn.Module):
    """Wraps a model on a device with memory for a limited number of waveforms."""

    def __init__(self, model: torch.nn.Module, max_waveforms: int) -> None:
        super().__init__()
        self.model, self.max_waveforms, self.calls = model, max_waveforms, 0

    def forward(self, padded: torch.Tensor, **options: object) -> object:
        self.calls += 1
        if len(padded) > self.max_waveforms:
            raise torch.OutOfMemoryError
        return self.model(padded, **options)


@given(
    lengths=st.lists(st.integers(1, 40_000), min_size=1, max_size=6),
    batch_seconds=st.sampled_from([0.1, 1.0, 3.0, 8.0, 100.0]),
    layers=st.sampled_from(["last", "mean", "all", (0, -1)]),
    seed=st.integers(0, 1000),
)
@hypothesis_settings(max_examples=25)
def test_features_do_not_depend_on_the_batch(
    saved_per_module: Path, lengths: list[int], batch_seconds: float, layers: object, seed: int, load: Load
) -> None:
    """The relative L2 difference is at most 1e-5 for any lengths, batch size and order."""
    waves = [wave(count / 16000, seed + number) for number, count in enumerate(lengths)]
    unbatched_encoder = load(saved_per_module, layers=layers, max_seconds=2)
    batched_encoder = load(saved_per_module, layers=layers, max_seconds=2, batch_seconds=batch_seconds)
    order = np.random.default_rng(seed).permutation(len(waves))
    batched = batched_encoder.encode([waves[number] for number in order])
    for number, values in zip(order, batched, strict=True):
        expected = encode_one(unbatched_encoder, waves[number])
        assert values.shape == expected.shape == (audio_frames(lengths[number]), *batched_encoder.frame_shape)
        # The eight consecutive layer norms of data2vec's positional embedding amplify rounding errors.
        model: Any = batched_encoder.model
        tolerance = 1e-4 if "data2vec" in str(type(model._model)).lower() else 1e-5
        assert np.linalg.norm(values - expected) <= tolerance * np.linalg.norm(expected)


def test_hidden_states_equal_those_of_transformers(saved: Path, load: Load) -> None:
    weights = find_audio_weights(str(saved), "main", 0)
    assert not weights.random
    encoder = load_audio_encoder(weights, CPU)
    samples = wave(1.3)
    model = AutoModel.from_pretrained(saved).eval()
    prepared = Wav2Vec2FeatureExtractor.from_pretrained(saved)(samples, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(prepared.input_values, output_hidden_states=True)
    expected = outputs.last_hidden_state[0].numpy()
    actual = encode_one(encoder, samples)
    assert actual.shape == ((len(samples) - 400) // 320 + 1, 16)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)

    all_layers = encode_one(load(saved, layers="all"), samples)
    assert all_layers.shape == (len(actual), 3, 16)
    for layer in (0, 1):
        np.testing.assert_allclose(all_layers[:, layer], outputs.hidden_states[layer][0].numpy(), rtol=1e-4, atol=1e-5)
    # The last layer includes the final normalization of models with `do_stable_layer_norm`.
    np.testing.assert_allclose(all_layers[:, 2], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        encode_one(load(saved, layers="mean"), samples), all_layers.mean(1), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(encode_one(load(saved, layers=(-1, 0)), samples), all_layers[:, [2, 0]])


@pytest.mark.parametrize("layers", ["last", "mean", "all", (0, 2), (-1,)])
def test_frame_shape_matches_the_features(saved: Path, layers: object, load: Load) -> None:
    encoder = load(saved, layers=layers)
    assert encoder.frame_shape == encode_one(encoder, wave(0.1)).shape[1:]


def test_windows_of_long_audio_agree_with_undivided_encoding(tmp_path: Path, save: Save, load: Load) -> None:
    """For a model that uses little context, windows change the features only near the window ends."""
    folder = save(tmp_path, "wav2vec2-layer")
    samples = wave(9.37)
    undivided, windowed = encode_one(load(folder), samples), encode_one(load(folder, max_seconds=2.5), samples)
    assert undivided.shape == windowed.shape
    error = np.linalg.norm(undivided - windowed, axis=1) / np.linalg.norm(undivided, axis=1)
    assert np.median(error) < 0.05
    short = wave(2.5)
    np.testing.assert_array_equal(encode_one(load(folder), short), encode_one(load(folder, max_seconds=2.5), short))


def test_bf16_is_close_to_fp32(load: Load) -> None:
    # On CPUs with bf16 instructions, PyTorch's convolution is wrong at the width of the saved models.
    exact, approximate = (
        encode_one(load("random:tiny", precision=precision), wave(1)) for precision in ("fp32", "bf16")
    )
    assert approximate.dtype == np.float32
    assert 0 < np.linalg.norm(exact - approximate) < 0.1 * np.linalg.norm(exact)


def test_a_batch_that_exceeds_the_memory_is_split(tmp_path: Path, save: Save, load: Load) -> None:
    folder = save(tmp_path, "wav2vec2-group")
    waves = [wave(0.2 + 0.1 * number, number) for number in range(7)]
    encoder = load(folder, batch_seconds=100)
    unlimited = encoder.encode(waves)
    model: Any = encoder.model
    limited = LimitedMemory(model._model, max_waveforms=2)
    model._model = limited
    for expected, actual in zip(unlimited, encoder.encode(waves), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    assert limited.calls > 4
    limited.max_waveforms = 0
    with pytest.raises(MediaError, match=r"out of memory.*extract.audio.max_seconds"):
        encoder.encode(waves)


def test_very_short_audio_gives_one_frame() -> None:
    encoder = load_audio_encoder(find_audio_weights("random:tiny", "main", 0), CPU)
    assert encode_one(encoder, wave(0.01)).shape == (1, *encoder.frame_shape)
    assert encode_one(encoder, wave(400 / 16000)).shape == (1, *encoder.frame_shape)
