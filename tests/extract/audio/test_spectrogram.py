"""Whisper's windows, frames and weights; test_families.py compares it, and Wav2Vec2-BERT, with transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from foal.extract.audio.encoder import AudioEncoder
from foal.shared.errors import EncoderError
from foal.tests.extract.audio.waveforms import encode_one, wave
from foal.tests.extract.small_audio_models import WHISPER, WHISPER_SECONDS, plain_states, save_family

Load = Callable[..., AudioEncoder]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(tmp_path_factory.mktemp("family") / "whisper", "whisper")


def test_windows_of_whisper_are_what_transformers_gives_for_them(whisper: Path, load: Load) -> None:
    """5 s in windows of 2 s, 100 frames, of which 16 on either side are context: frames 0:84, 84:152, ..., end."""
    samples = wave(5.003)
    windowed = encode_one(load(whisper), samples)
    assert len(windowed) == 251
    for first, last, begin in ((0, 84, 0), (84, 152, 68), (220, 251, 151)):
        window, _ = plain_states(whisper, samples[begin * 320 : (begin + 100) * 320])
        np.testing.assert_allclose(windowed[first:last], window[first - begin : last - begin], rtol=1e-5, atol=1e-5)


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
    model: Any = load(whisper).model
    names = [name for name, _ in model._model.named_parameters()]
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
