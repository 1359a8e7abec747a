"""Build audio encoders: a model of the wav2vec2 family from a folder, or a small one with seeded random weights."""

from pathlib import Path

import torch
from transformers import AutoModel, PreTrainedModel, Wav2Vec2Config, Wav2Vec2Model

from ...shared.config.settings import AudioSettings
from ...shared.errors import EncoderError
from ...shared.timing import Seconds
from ..encoders.inference import quiet_transformers
from ..encoders.weights import Weights, read_json
from .config import TINY_LAYERS, TINY_WIDTH, audio_config, chosen_layers
from .encoder import AudioEncoder
from .padding import BatchInvariantModel

TRAINING_ONLY = frozenset({"masked_spec_embed"})
"""Weights that a checkpoint may lack: they replace masked frames, and nothing is masked here."""


def load_audio_encoder(
    weights: Weights,
    device: torch.device,
    settings: AudioSettings | None = None,
    *,
    precision: str = "fp32",
    batch_seconds: Seconds = 0.0,
) -> AudioEncoder:
    """Build an audio encoder.

    Args:
        weights: the model's folder, or random weights.
        device: device of the model.
        settings: settings of the stream; None for the defaults.
        precision: fp32, bf16 or fp16 (autocast); hidden states are always float32.
        batch_seconds: audio per batch, including padding; 0 encodes utterances one by one.

    Raises:
        EncoderError: the weights are damaged, incomplete, or of another family.
    """
    settings = settings or AudioSettings()
    layers = chosen_layers(settings.layers, weights)
    if weights.path is None:
        model, normalize = _tiny(weights.seed), False
    else:
        model, normalize = _load(weights, weights.path)
    return AudioEncoder(
        model=BatchInvariantModel(model, device),
        width=int(model.config.hidden_size),
        layers=layers,
        normalize=normalize,
        device=device,
        precision=precision,
        max_seconds=settings.max_seconds,
        batch_seconds=batch_seconds,
    )


def _load(weights: Weights, folder: Path) -> tuple[PreTrainedModel, bool]:
    """The model, and whether it takes normalized waveforms."""
    config = audio_config(weights)
    try:
        with quiet_transformers():
            model, report = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:
        # safetensors, pickle and transformers each raise their own exceptions; one line is enough for the user.
        raise EncoderError(f"{weights.name}: the weights cannot be loaded ({str(error).splitlines()[0]})") from None
    missing = sorted(set(report["missing_keys"]) - TRAINING_ONLY)
    if missing:
        raise EncoderError(
            f"{weights.name}: {len(missing)} weights of a {config['model_type']} model are missing in its file, such "
            f"as {missing[0]}; is it the file of another model?"
        )
    preprocessor = folder / "preprocessor_config.json"
    normalize = config.get("feat_extract_norm") == "layer"
    if preprocessor.is_file():
        normalize = read_json(preprocessor).get("do_normalize", normalize)
    return model, bool(normalize)


def _tiny(seed: int) -> PreTrainedModel:
    """A wav2vec2 of two layers and width 64 with seeded random weights, for the demo and the tests."""
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
