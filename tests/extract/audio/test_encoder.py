"""Audio encoders, built by transformers and saved to a folder as anyone's would be."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from foal.extract.audio.config import audio_frame_shape
from foal.extract.audio.encoder import AudioEncoder
from foal.extract.audio.loading import load_audio_encoder
from foal.extract.audio.padding import BatchInvariantModel
from foal.extract.encoders.weights import find_audio_weights
from foal.shared.config.settings import AudioSettings
from foal.shared.errors import EncoderError, MediaError
from foal.shared.timing import audio_frames

CPU = torch.device("cpu")
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "num_feat_extract_layers": 7,
}
LAYER_NORM = {"feat_extract_norm": "layer", "conv_bias": True}
MODELS = {
    "wav2vec2-group": lambda: Wav2Vec2Model(Wav2Vec2Config(**SMALL, feat_extract_norm="group")),
    "wav2vec2-layer": lambda: Wav2Vec2Model(Wav2Vec2Config(**SMALL, **LAYER_NORM)),
    "wav2vec2-stable": lambda: Wav2Vec2Model(Wav2Vec2Config(**SMALL, **LAYER_NORM, do_stable_layer_norm=True)),
    "hubert": lambda: HubertModel(HubertConfig(**SMALL)),
    "wavlm": lambda: WavLMModel(WavLMConfig(**SMALL)),
    "data2vec": lambda: Data2VecAudioModel(Data2VecAudioConfig(**SMALL, conv_pos_kernel_size=9)),
}


def wave(seconds: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=round(seconds * 16000)) * 0.1).astype(np.float32)


def save(folder: Path, model: Callable[[], PreTrainedModel]) -> Path:
    torch.manual_seed(0)
    model().eval().save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


@lru_cache(maxsize=64)
def load(
    folder: Path | str, *, batch_seconds: float = 0.0, precision: str = "fp32", **settings: object
) -> AudioEncoder:
    weights = find_audio_weights(str(folder), "main", 0)
    chosen = AudioSettings(**settings)  # type: ignore[arg-type]
    return load_audio_encoder(weights, CPU, chosen, precision=precision, batch_seconds=batch_seconds)


def alone(encoder: AudioEncoder, samples: np.ndarray) -> np.ndarray:
    return encoder.encode([samples])[0]


@pytest.fixture(params=MODELS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return save(tmp_path / "model", MODELS[request.param])


@pytest.fixture(scope="module", params=MODELS)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("kept") / "model", MODELS[request.param])


@given(
    lengths=st.lists(st.integers(1, 40_000), min_size=1, max_size=6),
    batch_seconds=st.sampled_from([0.1, 1.0, 3.0, 8.0, 100.0]),
    layers=st.sampled_from(["last", "mean", "all", (0, -1)]),
    seed=st.integers(0, 1000),
)
@hypothesis_settings(max_examples=25)
def test_a_batch_changes_nothing(
    kept: Path, lengths: list[int], batch_seconds: float, layers: object, seed: int
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
        # In data2vec's positions eight layer norms follow each other, which leaves more of a rounding error.
        tolerance = 1e-4 if "data2vec" in str(type(together.model._model)).lower() else 1e-5
        assert np.linalg.norm(values - wanted) <= tolerance * np.linalg.norm(wanted)


def test_in_double_precision_nothing_is_left_of_the_difference(kept: Path) -> None:
    """What the batches differ by is rounding, and nothing else."""
    model = BatchInvariantModel(AutoModel.from_pretrained(kept).double(), CPU)
    waves = [torch.from_numpy(wave(seconds, round(seconds * 100))).double() for seconds in (0.025, 0.3, 1.9, 0.7)]
    with torch.inference_mode():
        frames, (batched,) = model.hidden_states(waves, CPU, every=False)
        for samples, count, values in zip(waves, frames, batched, strict=True):
            _, (wanted,) = model.hidden_states([samples], CPU, every=False)
            assert wanted.shape[1] == count
            assert torch.linalg.norm(values[:count] - wanted[0]) <= 1e-12 * torch.linalg.norm(wanted)


def test_padding_without_the_mending_would_show(tmp_path: Path) -> None:
    """What the promise above is about: the same batch through transformers itself."""
    model = AutoModel.from_pretrained(save(tmp_path, MODELS["wav2vec2-group"])).eval()
    short, long = wave(0.8), wave(2)
    padded = torch.zeros(2, len(long))
    padded[0, : len(short)], padded[1] = torch.from_numpy(short), torch.from_numpy(long)
    mask = torch.zeros(2, len(long), dtype=torch.long)
    mask[0, : len(short)], mask[1] = 1, 1
    with torch.inference_mode():
        single = model(torch.from_numpy(short)[None]).last_hidden_state[0]
        batched = model(padded, attention_mask=mask).last_hidden_state[0, : len(single)]
    assert torch.linalg.norm(batched - single) > 0.02 * torch.linalg.norm(single)


def test_a_saved_model_gives_what_transformers_gives(saved: Path) -> None:
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
    # The last one with the final normalisation of "stable layer norm" models, which comes behind the last layer.
    np.testing.assert_allclose(every[:, 2], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone(load(saved, layers="mean"), samples), every.mean(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(alone(load(saved, layers=(-1, 0)), samples), every[:, [2, 0]])


@pytest.mark.parametrize("layers", ["last", "mean", "all", (0, 2), (-1,)])
def test_the_shape_is_known_without_the_weights(saved: Path, layers: object) -> None:
    encoder = load(saved, layers=layers)
    weights = find_audio_weights(str(saved), "main", 0)
    assert audio_frame_shape(layers, weights) == encoder.frame_shape == alone(encoder, wave(0.1)).shape[1:]  # type: ignore[arg-type]


@pytest.mark.parametrize("layers", [(3,), (-4,), (0, 12), (0, 0), (2, -1), ()])
def test_layers_that_are_not_there_are_refused(tmp_path: Path, layers: tuple[int, ...]) -> None:
    with pytest.raises(EncoderError, match=r"extract.audio.layers"):
        load(save(tmp_path, MODELS["hubert"]), layers=layers)


def test_long_sound_goes_through_in_windows_and_joins_well(tmp_path: Path) -> None:
    """A model that sees little context gives the same in windows, but for what the ends of a window change."""
    folder = save(tmp_path, MODELS["wav2vec2-layer"])
    samples = wave(9.37)
    whole, cut = alone(load(folder), samples), alone(load(folder, max_seconds=2.5), samples)
    assert whole.shape == cut.shape
    error = np.linalg.norm(whole - cut, axis=1) / np.linalg.norm(whole, axis=1)
    assert np.median(error) < 0.05
    shorter = wave(2.5)
    np.testing.assert_array_equal(alone(load(folder), shorter), alone(load(folder, max_seconds=2.5), shorter))


def test_bf16_is_near_fp32(tmp_path: Path) -> None:
    folder = save(tmp_path, MODELS["wav2vec2-layer"])
    exact, near = (alone(load(folder, precision=precision), wave(1)) for precision in ("fp32", "bf16"))
    assert near.dtype == np.float32
    assert 0 < np.linalg.norm(exact - near) < 0.1 * np.linalg.norm(exact)


class TooSmall(torch.nn.Module):
    """Stands before a model as a GPU with memory for so many waves at once."""

    def __init__(self, model: torch.nn.Module, most: int) -> None:
        super().__init__()
        self.model, self.most, self.calls = model, most, 0

    def forward(self, padded: torch.Tensor, **options: object) -> object:
        self.calls += 1
        if len(padded) > self.most:
            raise torch.OutOfMemoryError
        return self.model(padded, **options)


def test_a_batch_too_large_for_the_memory_is_halved(tmp_path: Path) -> None:
    folder = save(tmp_path, MODELS["wav2vec2-group"])
    waves = [wave(0.2 + 0.1 * number, number) for number in range(7)]
    encoder = load(folder, batch_seconds=100)
    wanted = encoder.encode(waves)
    small = TooSmall(encoder.model._model, most=2)
    encoder.model._model = small  # type: ignore[assignment]
    for one, other in zip(wanted, encoder.encode(waves), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert small.calls > 4
    small.most = 0
    with pytest.raises(MediaError, match=r"memory does not suffice.*extract.audio.max_seconds"):
        encoder.encode(waves)


def test_very_short_sound_gives_one_frame() -> None:
    encoder = load_audio_encoder(find_audio_weights("random:tiny", "main", 0), CPU)
    assert alone(encoder, wave(0.01)).shape == (1, *encoder.frame_shape)
    assert alone(encoder, wave(400 / 16000)).shape == (1, *encoder.frame_shape)


def test_the_seed_makes_the_tiny_encoder() -> None:
    one, same, other = (load_audio_encoder(find_audio_weights("random:tiny", "main", seed), CPU) for seed in (1, 1, 2))
    np.testing.assert_array_equal(alone(one, wave(0.5)), alone(same, wave(0.5)))
    assert np.abs(alone(one, wave(0.5)) - alone(other, wave(0.5))).max() > 0.1


def test_loading_does_not_disturb_the_random_numbers_of_others() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    load_audio_encoder(find_audio_weights("random:tiny", "main", 0), CPU)
    assert torch.equal(torch.rand(3), wanted)


def test_the_hash_is_of_the_weights_not_of_the_name(saved: Path) -> None:
    moved = saved.rename(saved.with_name("elsewhere"))
    digest = find_audio_weights(str(moved), "main", 0).digest
    assert digest == find_audio_weights(f"{moved}/", "main", 0).digest
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    assert find_audio_weights(str(moved), "main", 0).digest != digest


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "expected config.json and model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "expected config.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), "expected a JSON file"),
    ],
)
def test_damaged_models_are_refused(tmp_path: Path, spoil: object, words: str) -> None:
    Wav2Vec2Model(Wav2Vec2Config(**SMALL)).save_pretrained(tmp_path)
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(EncoderError, match=words):
        load_audio_encoder(find_audio_weights(str(tmp_path), "main", 0), CPU)


def test_models_of_another_kind_are_refused(tmp_path: Path) -> None:
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**small)).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="expected a model of type wav2vec2, hubert, wavlm"):
        load_audio_encoder(find_audio_weights(str(tmp_path), "main", 0), CPU)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    """transformers fills what a checkpoint lacks with random numbers, and says so in a log."""
    other = save(tmp_path / "other", lambda: Wav2Vec2Model(Wav2Vec2Config(**{**SMALL, "num_hidden_layers": 1})))
    folder = save(tmp_path / "model", MODELS["wav2vec2-group"])
    (other / "model.safetensors").replace(folder / "model.safetensors")
    load.cache_clear()
    with pytest.raises(EncoderError, match="weights of a wav2vec2 model are missing"):
        load(folder)
    wider = save(tmp_path / "wider", lambda: Wav2Vec2Model(Wav2Vec2Config(**{**SMALL, "hidden_size": 32})))
    (wider / "model.safetensors").replace(folder / "model.safetensors")
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load(folder)


def test_other_strides_are_refused(tmp_path: Path) -> None:
    config = Wav2Vec2Config(**{**SMALL, "conv_stride": (5, 2, 2, 2, 2, 2, 1)})
    Wav2Vec2Model(config).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="every 320 samples"):
        load_audio_encoder(find_audio_weights(str(tmp_path), "main", 0), CPU)


def test_a_model_that_cannot_be_had_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError, match=r"fetch config.json.* from https://huggingface.co/facebook/wav2vec2-base"):
        find_audio_weights("facebook/wav2vec2-base", "main", 0)
    with pytest.raises(EncoderError, match="neither a folder nor the name of a model"):
        find_audio_weights("../no such//model", "main", 0)
    with pytest.raises(EncoderError, match="unknown encoder 'random:huge'"):
        find_audio_weights("random:huge", "main", 0)
