"""Loads a model of the wav2vec2 family: from a folder, or a small one with seeded random weights."""

from pathlib import Path

import torch
from transformers import AutoModel, PreTrainedModel, Wav2Vec2Config, Wav2Vec2Model

from ...shared.config.settings import AudioSettings
from ...shared.errors import EncoderError
from ...shared.timing import Seconds
from ..encoders.inference import quiet
from ..encoders.weights import Weights, read_json
from .config import TINY_LAYERS, TINY_WIDTH, audio_config, chosen_layers
from .encoder import AudioEncoder
from .padding import PaddedModel

TRAINING_ONLY = frozenset({"masked_spec_embed"})
"""Weights that a checkpoint may lack: they stand in for masked frames, and nothing is masked here."""


def load_audio_encoder(
    weights: Weights,
    device: torch.device,
    settings: AudioSettings | None = None,
    *,
    precision: str = "fp32",
    batch_seconds: Seconds = 0.0,
) -> AudioEncoder:
    """Build the encoder. Raises EncoderError for weights that are damaged, incomplete or of no model of the family."""
    settings = settings or AudioSettings()
    layers = chosen_layers(settings.layers, weights)
    model, normalise = (_tiny(weights.seed), False) if weights.path is None else _load(weights, weights.path)
    return AudioEncoder(
        model=PaddedModel(model, device),
        width=int(model.config.hidden_size),
        layers=layers,
        normalise=normalise,
        device=device,
        precision=precision,
        max_seconds=settings.max_seconds,
        batch_seconds=batch_seconds,
    )


def _load(weights: Weights, folder: Path) -> tuple[PreTrainedModel, bool]:
    """The model, and whether it wants its waves normalised."""
    config = audio_config(weights)
    try:
        with quiet():
            model, report = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:
        # safetensors, pickle and transformers each have their own; the user needs the one line.
        raise EncoderError(f"{weights.name}: the weights cannot be loaded ({str(error).splitlines()[0]})") from None
    if missing := sorted(set(report["missing_keys"]) - TRAINING_ONLY):
        raise EncoderError(
            f"{weights.name}: {len(missing)} weights of a {config['model_type']} model are missing in its file, such "
            f"as {missing[0]}; are they those of another model?"
        )
    preprocessor = folder / "preprocessor_config.json"
    by_default = config.get("feat_extract_norm") == "layer"
    normalise = read_json(preprocessor).get("do_normalize", by_default) if preprocessor.is_file() else by_default
    return model, bool(normalise)


def _tiny(seed: int) -> PreTrainedModel:
    """A wav2vec2 of 64 dimensions and two layers with seeded random weights, for the demo and the tests."""
    config = Wav2Vec2Config(
        hidden_size=TINY_WIDTH,
        num_hidden_layers=TINY_LAYERS,
        num_attention_heads=4,
        intermediate_size=128,
        conv_dim=(64,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="layer",
        conv_bias=True,
        do_stable_layer_norm=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Wav2Vec2Model(config)
