"""Whisper, Wav2Vec2-BERT, UniSpeech, SEW and MMS: equal to a plain loop over processor and model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from foal.extract.audio.encoder import AudioEncoder
from foal.shared.errors import EncoderError
from foal.tests.extract.audio.families import MODELS, WHISPER, WHISPER_SECONDS, plain_states, save_family
from foal.tests.extract.audio.waveforms import encode_one, wave

Load = Callable[..., AudioEncoder]

LENGTHS = (1.31, 0.5, 1.9, 0.041, 1.33)
"""Seconds: of even and odd numbers of frames."""

SQUEEZE = 2
"""Of SEW: its layers have half as many frames."""


@pytest.fixture(scope="module", params=MODELS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(tmp_path_factory.mktemp("family") / request.param, request.param)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(tmp_path_factory.mktemp("family") / "whisper", "whisper")


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
        pytest.skip("it cannot encode the whole at once; the next test compares its windows")
    samples = wave(5.003)
    undivided, windowed = encode_one(load(family), samples), encode_one(load(family, max_seconds=2), samples)
    assert undivided.shape == windowed.shape == (expected_frames(family.name, len(samples)), 16)
    error = np.linalg.norm(undivided - windowed, axis=1) / np.linalg.norm(undivided, axis=1).clip(1e-6)
    assert np.median(error) < 0.05


def test_windows_of_whisper_are_what_transformers_gives_for_them(whisper: Path, load: Load) -> None:
    """5 s in windows of 2 s, 100 frames, of which 16 on either side are context: frames 0:84, 84:152, ..., end."""
    samples = wave(5.003)
    windowed = encode_one(load(whisper), samples)
    assert len(windowed) == 251
    for first, last, begin in ((0, 84, 0), (84, 152, 68), (220, 251, 151)):
        window, _ = plain_states(whisper, samples[begin * 320 : (begin + 100) * 320])
        np.testing.assert_allclose(windowed[first:last], window[first - begin : last - begin], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 300, 400, 560, 719])
def test_short_audio_gives_at_least_one_frame(family: Path, samples: int, load: Load) -> None:
    values = encode_one(load(family), wave(samples / 16000))
    assert 1 <= len(values) <= 3
    assert np.isfinite(values).all()


def test_a_whisper_frame_belongs_to_the_sample_in_its_centre(whisper: Path, load: Load) -> None:
    """With a click at 0.6 s, the input of the first layer differs most in frame 30."""
    encoder = load(whisper, layers=(0,))
    quiet = wave(1.5) * 1e-3
    click = quiet.copy()
    click[9600] += 0.02
    difference = np.abs(encode_one(encoder, click) - encode_one(encoder, quiet))[:, 0].mean(1)
    assert np.argmax(difference) == round((0.6 - encoder.origin(len(quiet))) * encoder.rate_hz) == 30


def test_whisper_never_reads_more_than_its_model_takes(whisper: Path, load: Load) -> None:
    """max_seconds is 30 s by default, and this model takes 2 s."""
    samples = wave(WHISPER_SECONDS + 0.5)
    values = encode_one(load(whisper), samples)
    assert len(values) == len(samples) // 320
    np.testing.assert_array_equal(values, encode_one(load(whisper, max_seconds=WHISPER_SECONDS), samples))


def test_the_decoder_of_whisper_is_neither_needed_nor_loaded(whisper: Path, tmp_path: Path, load: Load) -> None:
    """Also from a checkpoint with a language model head, and from one without a decoder or a feature extractor."""
    encoder = load(whisper)
    names = [name for name, _ in encoder.model._model.named_parameters()]
    assert names
    assert not [name for name in names if "decoder" in name]

    torch.manual_seed(0)
    full = WhisperForConditionalGeneration(WhisperConfig(**WHISPER))
    full.save_pretrained(tmp_path / "full")
    WhisperFeatureExtractor(feature_size=8, chunk_length=WHISPER_SECONDS).save_pretrained(tmp_path / "full")
    stripped = save_family(tmp_path / "stripped", "whisper")
    state = load_file(tmp_path / "full" / "model.safetensors")
    kept = {name.removeprefix("model."): value for name, value in state.items() if ".encoder." in name}
    save_file(kept, stripped / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_array_equal(encode_one(load(stripped), wave(1)), encode_one(load(tmp_path / "full"), wave(1)))


def test_a_whisper_whose_files_disagree_is_refused(tmp_path: Path, load: Load) -> None:
    folder = save_family(tmp_path / "model", "whisper")
    WhisperFeatureExtractor(feature_size=80, chunk_length=WHISPER_SECONDS).save_pretrained(folder)
    with pytest.raises(EncoderError, match=r"expected \(mel bins.*\(8, .*got \(80, .*preprocessor_config.json"):
        load(folder)


def test_a_whisper_without_encoder_weights_is_refused(tmp_path: Path, load: Load) -> None:
    folder = save_family(tmp_path / "model", "whisper")
    state = load_file(folder / "model.safetensors")
    decoder = {name: value for name, value in state.items() if name.startswith("decoder")}
    save_file(decoder, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="weights of a whisper model are missing"):
        load(folder)


def test_a_receptive_field_other_than_25_ms_is_refused(tmp_path: Path, load: Load) -> None:
    folder = save_family(tmp_path / "model", "unispeech-sat")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "conv_kernel": [10, 3, 3, 3, 3, 2, 3]}))
    with pytest.raises(EncoderError, match=r"cover 400 samples \(25 ms\), got 560"):
        load(folder)
