"""Build text encoders: a model and its tokenizer from a folder, or a small one with seeded random weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...shared.config.settings import TextSettings
from ...shared.errors import EncoderError
from ..encoders.pretrained import load_pretrained
from ..encoders.weights import Weights
from .config import TINY_LAYERS, TINY_POSITIONS, TINY_WIDTH, sentence_pooling, text_config, text_layers
from .encoder import TextEncoder
from .tokens import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

UNUSED = "pooler"
"""Part of the name of weights that a checkpoint may lack: the layer behind the first token, which is not read here."""

CPU_BATCH_TOKENS = 2048
GPU_BATCH_TOKENS = 16384


def load_text_encoder(
    weights: Weights,
    device: torch.device,
    settings: TextSettings | None = None,
    *,
    precision: str = "fp32",
    batch_tokens: int = 0,
) -> TextEncoder:
    """Build a text encoder.

    Args:
        weights: the model's folder, or random weights.
        device: device of the model.
        settings: settings of the stream; None for the defaults.
        precision: fp32, tf32, bf16 or fp16, see `autocast`; hidden states are always float32.
        batch_tokens: tokens per batch, including padding; 0 for the usual number of the device.

    Raises:
        EncoderError: the weights or the tokenizer are damaged, incomplete, of another family, or do not fit together.
    """
    settings = settings or TextSettings()
    layers = text_layers(settings.layers, weights)
    pool = _pooling(settings.pool, weights)
    tokenizer = load_tokenizer(weights)
    model = _tiny(weights.seed, tokenizer.size) if weights.path is None else _load(weights, weights.path)
    embeddings: Any = model.get_input_embeddings()
    if tokenizer.size > embeddings.num_embeddings:
        raise EncoderError(
            f"{weights.name}: expected a tokenizer of at most {embeddings.num_embeddings} tokens, as the model has, "
            f"got one of {tokenizer.size}; are both of the same model?"
        )
    return TextEncoder(
        model=model,
        tokenizer=tokenizer,
        layers=layers,
        pool=pool,
        device=device,
        precision=precision,
        batch_tokens=batch_tokens or (CPU_BATCH_TOKENS if device.type == "cpu" else GPU_BATCH_TOKENS),
    )


def _pooling(pool: str, weights: Weights) -> str:
    """The pooling of `TextEncoder` for a value of extract.text.pool."""
    if pool == "sentence":
        return f"sentence-{sentence_pooling(weights)}"
    if pool != "cls":
        return pool
    if weights.path is not None and not text_config(weights)[0].first_token:
        raise EncoderError(f"{weights.name} has no classification token: use extract.text.pool: mean")
    return "first"


def _load(weights: Weights, folder: Path) -> "PreTrainedModel":
    from transformers import AutoModel, CLIPTextModel

    model_type = text_config(weights)[1]["model_type"]
    loader: Any = CLIPTextModel if model_type.startswith("clip") else AutoModel
    model, report = load_pretrained(loader, folder, weights.name)
    missing = sorted(name for name in report["missing_keys"] if UNUSED not in name)
    if missing:
        raise EncoderError(
            f"{weights.name}: {len(missing)} weights of a {model_type} model are missing in its file, such as "
            f"{missing[0]}; is it the file of another model?"
        )
    loaded: PreTrainedModel = model
    return loaded


def _tiny(seed: int, tokens: int) -> "PreTrainedModel":
    """A BERT of two layers and width 64 with seeded random weights, for the demo and the tests."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=tokens,
        hidden_size=TINY_WIDTH,
        num_hidden_layers=TINY_LAYERS,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=TINY_POSITIONS,
        pad_token_id=tokens - 1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertModel(config, add_pooling_layer=False)
