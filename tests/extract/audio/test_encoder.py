"""Audio encoders: the hidden states of transformers, in batches and windows of any size."""

from collections.abc import Callable
from pathlib import Path

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

CPU = torch.device("cpu")
Save = Callable[..., Path]
Load = Callable[..., AudioEncoder]


def wave(seconds: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=round(seconds * 16000)) * 0.1).astype(np.float32)


def alone(encoder: AudioEncoder, samples: np.ndarray) -> np.ndarray:
    return encoder.encode([samples])[0]


class TooSmall(torch.nn.Module):
    """Wraps a model as a GPU with memory for a limited number of waveforms."""

    def __init__(self, model: torch.nn.Module, most: int) -> None:
        super().__init__()
        self.model, self.most, self.calls = model, most, 0

    def forward(self, padded: torch.Tensor, **options: object) -> object:
        self.calls += 1
        if len(padded) > self.most:
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
    kept: Path, lengths: list[int], batch_seconds: float, layers: object, seed: int, load: Load
) -> None:
    """Promise: relative L2 of 1e-5 at most, whatever the lengths, the batch size and the order."""
    waves = [wave(count / 16000, seed + number) for number, count in enumerate(lengths)]
    one_by_one = load(kept, layers=layers, max_seconds=2)
    together = load(kept, layers=layers, max_seconds=2, batch_seconds=batch_seconds)
    order = np.random.default_rng(seed).permutation(len(waves))
    batched = together.encode([waves[number] for number in order])
    for number, values in zip(order, batched, strict=True):
        wanted = alone(one_by_one, waves[number])
        assert values.shape == wanted.shape == (audio_frames(lengths[number]), *together.frame_shape)
        # The eight layer norms in a row of data2vec's positions amplify rounding errors.
        tolerance = 1e-4 if "data2vec" in str(type(together.model._model)).lower() else 1e-5
        assert np.linalg.norm(values - wanted) <= tolerance * np.linalg.norm(wanted)


def test_hidden_states_equal_those_of_transformers(saved: Path, load: Load) -> None:
    weights = find_audio_weights(str(saved), "main", 0)
    assert not weights.random
    encoder = load_audio_encoder(weights, CPU)
    samples = wave(1.3)
    model = AutoModel.from_pretrained(saved).eval()
    prepared = Wav2Vec2FeatureExtractor.from_pretrained(saved)(samples, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        out = model(prepared.input_values, output_hidden_states=True)
    wanted = out.last_hidden_state[0].numpy()
    got = alone(encoder, samples)
    assert got.shape == ((len(samples) - 400) // 320 + 1, 16)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)

    every = alone(load(saved, layers="all"), samples)
    assert every.shape == (len(got), 3, 16)
    for layer in (0, 1):
        np.testing.assert_allclose(every[:, layer], out.hidden_states[layer][0].numpy(), rtol=1e-4, atol=1e-5)
    # The last one includes the final normalization of "stable layer norm" models.
    np.testing.assert_allclose(every[:, 2], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone(load(saved, layers="mean"), samples), every.mean(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(alone(load(saved, layers=(-1, 0)), samples), every[:, [2, 0]])


@pytest.mark.parametrize("layers", ["last", "mean", "all", (0, 2), (-1,)])
def test_frame_shape_is_that_of_the_result(saved: Path, layers: object, load: Load) -> None:
    encoder = load(saved, layers=layers)
    assert encoder.frame_shape == alone(encoder, wave(0.1)).shape[1:]


def test_windows_of_long_audio_agree_with_the_whole(tmp_path: Path, save: Save, load: Load) -> None:
    """A model that uses little context gives the same in windows, up to the effect of their ends."""
    folder = save(tmp_path, "wav2vec2-layer")
    samples = wave(9.37)
    whole, cut = alone(load(folder), samples), alone(load(folder, max_seconds=2.5), samples)
    assert whole.shape == cut.shape
    error = np.linalg.norm(whole - cut, axis=1) / np.linalg.norm(whole, axis=1)
    assert np.median(error) < 0.05
    shorter = wave(2.5)
    np.testing.assert_array_equal(alone(load(folder), shorter), alone(load(folder, max_seconds=2.5), shorter))


def test_bf16_is_close_to_fp32(load: Load) -> None:
    # Not one of the saved models: on CPUs with bf16 instructions, PyTorch's convolution is wrong at their width.
    exact, near = (alone(load("random:tiny", precision=precision), wave(1)) for precision in ("fp32", "bf16"))
    assert near.dtype == np.float32
    assert 0 < np.linalg.norm(exact - near) < 0.1 * np.linalg.norm(exact)


def test_a_batch_too_large_for_the_memory_is_split(tmp_path: Path, save: Save, load: Load) -> None:
    folder = save(tmp_path, "wav2vec2-group")
    waves = [wave(0.2 + 0.1 * number, number) for number in range(7)]
    encoder = load(folder, batch_seconds=100)
    wanted = encoder.encode(waves)
    small = TooSmall(encoder.model._model, most=2)
    encoder.model._model = small  # type: ignore[assignment]
    for one, other in zip(wanted, encoder.encode(waves), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert small.calls > 4
    small.most = 0
    with pytest.raises(MediaError, match=r"out of memory.*extract.audio.max_seconds"):
        encoder.encode(waves)


def test_very_short_audio_gives_one_frame() -> None:
    encoder = load_audio_encoder(find_audio_weights("random:tiny", "main", 0), CPU)
    assert alone(encoder, wave(0.01)).shape == (1, *encoder.frame_shape)
    assert alone(encoder, wave(400 / 16000)).shape == (1, *encoder.frame_shape)
