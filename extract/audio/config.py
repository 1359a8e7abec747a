"""Configuration of audio encoders by their config.json, read without importing torch: layers and frame rate."""

import math
from typing import Any

from ...shared.errors import EncoderError
from ...shared.timing import AUDIO_FRAME_SAMPLES, AUDIO_HOP_SAMPLES, AUDIO_RATE_HZ
from ..encoders.layers import Layers, layer_shape, resolve_layers
from ..encoders.opensmile import smile_rate
from ..encoders.weights import Weights, read_json

WAVEFORM_MODELS = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "sew")
"""Model types that read the samples, with the convolutions of wav2vec2 in front; MMS is a wav2vec2 with adapters."""

FAMILY = (*WAVEFORM_MODELS, "whisper", "wav2vec2-bert")
DEFAULTS = {
    "num_hidden_layers": 12,
    "hidden_size": 768,
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
}
_SEW_DEFAULTS = {
    "conv_stride": (5, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1),
    "conv_kernel": (10, 3, 1, 3, 1, 3, 1, 3, 1, 2, 1, 2, 1),
}
_WHISPER_DEFAULTS = {"encoder_layers": 4, "d_model": 384, "num_mel_bins": 80, "max_source_positions": 1500}
_BERT_DEFAULTS = {"num_hidden_layers": 24, "hidden_size": 1024}
"""Defaults of transformers for keys that a config.json lacks."""

TINY_LAYERS = 2
TINY_WIDTH = 64


def chosen_layers(layers: Layers, weights: Weights) -> Layers:
    """Resolve negative layer numbers.

    Args:
        layers: as in the settings; -1 is the last layer.
        weights: the model.

    Raises:
        EncoderError: a layer that the model does not have, no layer, or one twice.
    """
    if weights.opensmile:
        if layers != "last":
            raise EncoderError(f"{weights.name} has no layers: expected extract.audio.layers: last, got {layers}")
        return layers
    return resolve_layers(layers, _depth(weights), weights.name, "extract.audio.layers")


def stored_layers(layers: Layers, weights: Weights) -> int:
    """Number of hidden states that are stored of each frame; arguments as of `chosen_layers`."""
    return 1 if weights.opensmile else math.prod(layer_shape(layers, _depth(weights) + 1))


def audio_rate_hz(weights: Weights) -> float:
    """Frames per second of an encoder's features; 1 where it gives one vector per utterance."""
    return smile_rate(weights.name) if weights.opensmile else AUDIO_RATE_HZ


def _depth(weights: Weights) -> int:
    return TINY_LAYERS if weights.path is None else int(audio_config(weights)["num_hidden_layers"])


def audio_config(weights: Weights) -> dict[str, Any]:
    """Read config.json, with defaults; raises EncoderError for a model of another family or frame rate."""
    assert weights.path is not None
    config = read_json(weights.path / "config.json")
    model_type = config.get("model_type")
    if model_type not in FAMILY:
        raise EncoderError(f"{weights.name}: expected a model of type {', '.join(FAMILY)}, got {model_type!r}")
    if model_type == "whisper":
        config = {**_WHISPER_DEFAULTS, **config}
        # transformers calls the encoder's layers by both names; config.json has this one for certain.
        return {**config, "num_hidden_layers": config["encoder_layers"], "hidden_size": config["d_model"]}
    if model_type == "wav2vec2-bert":
        config = {**_BERT_DEFAULTS, **config}
        _check_hop(weights, AUDIO_HOP_SAMPLES << _halvings(config, 1))
        return config
    config = {**DEFAULTS, **(_SEW_DEFAULTS if model_type == "sew" else {}), **config}
    _check_hop(weights, math.prod(config["conv_stride"]) << _halvings(config, 3))
    covered, hop = 1, 1
    for kernel, stride in zip(config["conv_kernel"], config["conv_stride"], strict=True):
        covered, hop = covered + (kernel - 1) * hop, hop * stride
    if covered != AUDIO_FRAME_SAMPLES:
        raise EncoderError(
            f"{weights.name}: expected hidden states that cover {AUDIO_FRAME_SAMPLES} samples (25 ms), got {covered}"
        )
    return config


def _halvings(config: dict[str, Any], layers: int) -> int:
    """How often an adapter halves the frame rate: once per layer. `layers` is the default number of them."""
    return int(config.get("num_adapter_layers", layers)) if config.get("add_adapter") else 0


def _check_hop(weights: Weights, hop: int) -> None:
    if hop != AUDIO_HOP_SAMPLES:
        raise EncoderError(
            f"{weights.name}: expected hidden states every {AUDIO_HOP_SAMPLES} samples (50 Hz), got every {hop}"
        )
