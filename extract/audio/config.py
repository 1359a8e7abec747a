"""Configuration of audio encoders by their config.json, read without importing torch: layers and frame rate."""

import math
from typing import Any

from ...shared.errors import EncoderError
from ...shared.timing import AUDIO_HOP_SAMPLES
from ..encoders.weights import Weights, read_json

FAMILY = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
DEFAULTS = {"num_hidden_layers": 12, "hidden_size": 768, "conv_stride": (5, 2, 2, 2, 2, 2, 2)}
"""Defaults of transformers for keys that a config.json lacks."""

TINY_LAYERS = 2
TINY_WIDTH = 64

Layers = str | tuple[int, ...]
"""last, mean, all, or the numbers of layers; 0 is the input of the first layer."""


def chosen_layers(layers: Layers, weights: Weights) -> Layers:
    """Resolve negative layer numbers.

    Args:
        layers: as in the settings; -1 is the last layer.
        weights: the model.

    Raises:
        EncoderError: a layer that the model does not have, no layer, or one twice.
    """
    if isinstance(layers, str):
        return layers
    depth = _depth(weights)
    for layer in layers:
        if not -depth - 1 <= layer <= depth:
            raise EncoderError(
                f"{weights.name} has {depth} layers: expected numbers from 0 (the input of the first) to {depth} in "
                f"extract.audio.layers, got {layer}"
            )
    chosen = tuple(layer % (depth + 1) for layer in layers)
    if not chosen or len(set(chosen)) < len(chosen):
        raise EncoderError(f"extract.audio.layers: expected at least one layer and no duplicates, got {list(layers)}")
    return chosen


def _depth(weights: Weights) -> int:
    return TINY_LAYERS if weights.path is None else int(audio_config(weights)["num_hidden_layers"])


def audio_config(weights: Weights) -> dict[str, Any]:
    """Read config.json, with defaults; raises EncoderError for a model of another family or frame rate."""
    assert weights.path is not None
    config = read_json(weights.path / "config.json")
    model_type = config.get("model_type")
    if model_type not in FAMILY:
        raise EncoderError(f"{weights.name}: expected a model of type {', '.join(FAMILY)}, got {model_type!r}")
    config = {**DEFAULTS, **config}
    # An adapter halves the frame rate once per layer.
    halvings = config.get("num_adapter_layers", 3) if config.get("add_adapter") else 0
    hop = math.prod(config["conv_stride"]) << halvings
    if hop != AUDIO_HOP_SAMPLES:
        raise EncoderError(
            f"{weights.name}: expected hidden states every {AUDIO_HOP_SAMPLES} samples (50 Hz), got every {hop}"
        )
    return config
