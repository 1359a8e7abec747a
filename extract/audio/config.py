"""What an audio encoder's config.json says, before anything heavy is imported: its depth, width and frame rate."""

import math
from typing import Any

from ...shared.errors import EncoderError
from ...shared.timing import AUDIO_HOP_SAMPLES
from ..encoders.weights import Weights, read_json

FAMILY = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")
DEFAULTS = {"num_hidden_layers": 12, "hidden_size": 768, "conv_stride": (5, 2, 2, 2, 2, 2, 2)}
"""What transformers takes where a config.json does not say."""

TINY_LAYERS, TINY_WIDTH = 2, 64

Layers = str | tuple[int, ...]


def audio_frame_shape(layers: Layers, weights: Weights) -> tuple[int, ...]:
    """([layers,] width) of the features, without loading the weights."""
    count, width = _depth(weights), TINY_WIDTH if weights.path is None else int(audio_config(weights)["hidden_size"])
    chosen = chosen_layers(layers, weights)
    if isinstance(chosen, str):
        return (count + 1, width) if chosen == "all" else (width,)
    return len(chosen), width


def chosen_layers(layers: Layers, weights: Weights) -> Layers:
    """The layers, counted from the first; raises EncoderError for one that the model does not have."""
    if isinstance(layers, str):
        return layers
    depth = _depth(weights)
    if wrong := [layer for layer in layers if not -depth - 1 <= layer <= depth]:
        raise EncoderError(
            f"{weights.name} has {depth} layers: expected numbers from 0 (what enters the first) to {depth} in "
            f"extract.audio.layers, got {wrong[0]}"
        )
    chosen = tuple(layer % (depth + 1) for layer in layers)
    if not chosen or len(set(chosen)) < len(chosen):
        raise EncoderError(f"extract.audio.layers: expected different layers, at least one, got {list(layers)}")
    return chosen


def _depth(weights: Weights) -> int:
    return TINY_LAYERS if weights.path is None else int(audio_config(weights)["num_hidden_layers"])


def audio_config(weights: Weights) -> dict[str, Any]:
    """The model's config.json; raises EncoderError if it is no model of the family, or one of another frame rate."""
    assert weights.path is not None
    config = read_json(weights.path / "config.json")
    kind = config.get("model_type")
    if kind not in FAMILY:
        raise EncoderError(f"{weights.name}: expected a model of type {', '.join(FAMILY)}, got {kind!r}")
    config = {**DEFAULTS, **config}
    # An adapter halves the frame rate once per layer.
    hop = math.prod(config["conv_stride"]) << (config.get("num_adapter_layers", 3) if config.get("add_adapter") else 0)
    if hop != AUDIO_HOP_SAMPLES:
        raise EncoderError(
            f"{weights.name}: expected hidden states every {AUDIO_HOP_SAMPLES} samples (50 Hz), got every {hop}"
        )
    return config
