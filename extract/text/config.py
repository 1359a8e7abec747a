"""Configuration of text encoders by their JSON files, read without importing torch: layers, longest input, pooling."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...shared.errors import EncoderError
from ..encoders.layers import Layers, resolve_layers
from ..encoders.weights import SENTENCE_FILES, Weights, read_json

TINY_LAYERS = 2
TINY_WIDTH = 64
TINY_POSITIONS = 512


@dataclass(frozen=True, kw_only=True)
class Family:
    """A model type: names and defaults of the keys that a config.json may lack, as in transformers.

    Attributes:
        layers: default number of layers.
        positions: default number of positions.
        layers_key: key of the number of layers.
        padding: the pad token of a model whose positions are counted behind it (RoBERTa's and MPNet's); None: from 0.
        first_token: whether the first token is trained to represent the input.
    """

    layers: int
    positions: int
    layers_key: str = "num_hidden_layers"
    padding: int | None = None
    first_token: bool = True


FAMILIES: Mapping[str, Family] = {
    "bert": Family(layers=12, positions=512),
    "roberta": Family(layers=12, positions=512, padding=1),
    "xlm-roberta": Family(layers=12, positions=512, padding=1),
    "distilbert": Family(layers=6, positions=512, layers_key="n_layers"),
    "electra": Family(layers=12, positions=512),
    "mpnet": Family(layers=12, positions=512, padding=1),
    "deberta-v2": Family(layers=24, positions=512),
    "albert": Family(layers=12, positions=512),
    "modernbert": Family(layers=22, positions=8192),
    # Its tokens attend to the past only: the first one has read nothing.
    "clip": Family(layers=12, positions=77, first_token=False),
    "clip_text_model": Family(layers=12, positions=77, first_token=False),
}
"""Families by the model type in config.json."""

POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
}
"""Keys of 1_Pooling/config.json, and the pooling that they switch on; the others are not computed here."""

KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
"""Modules of sentence-transformers that `pool: sentence` computes."""


def text_config(weights: Weights) -> tuple[Family, dict[str, Any]]:
    """The family of a model and its config.json; of CLIP the part of the text encoder.

    Raises EncoderError for a model of another family.
    """
    assert weights.path is not None
    config = read_json(weights.path / "config.json")
    model_type = config.get("model_type")
    if model_type not in FAMILIES:
        raise EncoderError(f"{weights.name}: expected a model of type {', '.join(FAMILIES)}, got {model_type!r}")
    if model_type == "clip":
        config = {**(config.get("text_config") or {}), "model_type": "clip"}
    return FAMILIES[str(model_type)], config


def text_layers(layers: Layers, weights: Weights) -> Layers:
    """Resolve negative layer numbers; raises EncoderError, see `resolve_layers`."""
    if weights.path is None:
        depth = TINY_LAYERS
    else:
        family, config = text_config(weights)
        depth = int(config.get(family.layers_key, config.get("num_hidden_layers", family.layers)))
    return resolve_layers(layers, depth, weights.name, "extract.text.layers")


def longest_input(weights: Weights) -> int:
    """The most tokens that a model reads, special ones included: its positions, and what its tokenizer declares."""
    if weights.path is None:
        return TINY_POSITIONS
    family, config = text_config(weights)
    positions = int(config.get("max_position_embeddings", family.positions))
    if family.padding is not None:
        pad = config.get("pad_token_id")
        positions -= (family.padding if pad is None else int(pad)) + 1
    declared = [
        optional_json(weights, "tokenizer_config.json").get("model_max_length"),
        optional_json(weights, "sentence_bert_config.json").get("max_seq_length"),
    ]
    # Tokenizers without a limit declare 10^30.
    return min([positions, *(int(limit) for limit in declared if isinstance(limit, int | float) and limit > 0)])


def sentence_pooling(weights: Weights) -> str:
    """How a sentence encoder makes one vector of its tokens: cls, mean or max.

    Raises EncoderError if the folder names no pooling, or if the model has further modules.
    """
    path = SENTENCE_FILES[-1]
    config = optional_json(weights, path)
    modes = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise EncoderError(
            f"{weights.name}: extract.text.pool: sentence needs {path} with one of {', '.join(POOLINGS)}, got "
            f"{', '.join(modes) or 'none'}; use pool: mean"
        )
    others = [kind for kind in _modules(weights) if kind not in KNOWN_MODULES]
    if others:
        raise EncoderError(
            f"{weights.name}: extract.text.pool: sentence computes the modules {', '.join(KNOWN_MODULES)}, but the "
            f"model also has {', '.join(others)}; use pool: mean"
        )
    return POOLINGS[modes[0]]


def optional_json(weights: Weights, name: str) -> dict[str, Any]:
    """The content of a JSON file of the model's folder; empty if there is none."""
    path = None if weights.path is None else weights.path / name
    return read_json(path) if path is not None and path.is_file() else {}


def _modules(weights: Weights) -> list[str]:
    """The names of the modules in modules.json, a list of objects; empty without the file."""
    assert weights.path is not None
    path = weights.path / "modules.json"
    if not path.is_file():
        return []
    try:
        return [str(module["type"]).rpartition(".")[2] for module in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError) as error:
        raise EncoderError(f"{path}: expected a list of modules with types, got another content ({error})") from None
