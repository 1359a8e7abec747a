"""Configurations of text encoders, read without torch."""

import json
from pathlib import Path
from typing import Any

import pytest

from foal.extract.encoders.weights import Weights
from foal.extract.text.config import FAMILIES, longest_input, text_config, text_layers
from foal.shared.errors import EncoderError


def weights_with(folder: Path, config: dict[str, Any]) -> Weights:
    (folder / "config.json").write_text(json.dumps(config))
    return Weights(name="model", revision="local", digest="", path=folder)


@pytest.mark.parametrize(
    ("config", "layers", "longest"),
    [
        ({"model_type": "bert"}, 12, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 12, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, 12, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "num_hidden_layers": 6}, 6, 512),
        ({"model_type": "distilbert", "n_layers": 6}, 6, 512),
        ({"model_type": "clip", "text_config": {"num_hidden_layers": 8}, "num_hidden_layers": 3}, 8, 77),
        ({"model_type": "clip"}, 12, 77),
        ({"model_type": "modernbert"}, 22, 8192),
    ],
)
def test_depth_and_longest_input(tmp_path: Path, config: dict[str, Any], layers: int, longest: int) -> None:
    weights = weights_with(tmp_path, config)
    assert text_layers((-1, 0), weights) == (layers, 0)
    assert longest_input(weights) == longest
    with pytest.raises(EncoderError, match=f"model has {layers} layers"):
        text_layers((layers + 1,), weights)


def test_the_defaults_are_those_of_transformers() -> None:
    from transformers import AutoConfig

    for name, family in FAMILIES.items():
        config: Any = AutoConfig.for_model(name)
        config = config.text_config if name == "clip" else config
        assert config.num_hidden_layers == family.layers
        assert config.max_position_embeddings == family.positions
        if family.padding is not None:
            assert config.pad_token_id == family.padding


def test_other_models_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"model: expected a model of type bert, .*, got 'gpt2'"):
        text_config(weights_with(tmp_path, {"model_type": "gpt2"}))
    weights = weights_with(tmp_path, {"model_type": "bert"})
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(EncoderError, match=r"tokenizer_config\.json: expected a JSON file"):
        longest_input(weights)
