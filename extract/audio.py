"""Audio encoders: wav2vec2 and its family, frozen; one utterance at a time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModel, Wav2Vec2Config, Wav2Vec2Model
from transformers.utils import logging as transformers_logging

from ..shared.errors import EncoderError
from ..shared.timing import AUDIO_FRAME_SAMPLES, AUDIO_HOP_SAMPLES
from .sound import Wave
from .weights import Weights

FAMILY = ("wav2vec2", "hubert", "wavlm", "data2vec-audio")


class AudioEncoder:
    """A frozen model of the family: waves in, hidden states of the last layer out."""

    def __init__(self, *, model: nn.Module, width: int, normalise: bool, device: torch.device) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.width = width
        self.normalise = normalise
        self.device = device

    @torch.inference_mode()
    def encode(self, wave: Wave) -> NDArray[np.float32]:
        """Hidden states (t_a, d_a) at 50 Hz of one utterance (samples,), at 16 kHz.

        A wave shorter than the 400 samples that one hidden state covers is filled up with silence.
        """
        samples = torch.from_numpy(wave).to(self.device)
        if self.normalise:
            # As the family's preprocessor does, over the utterance and before anything is padded.
            samples = (samples - samples.mean()) / torch.sqrt(samples.var(correction=0) + 1e-7)
        if len(samples) < AUDIO_FRAME_SAMPLES:
            samples = nn.functional.pad(samples, (0, AUDIO_FRAME_SAMPLES - len(samples)))
        hidden: torch.Tensor = self.model(samples[None]).last_hidden_state[0]
        return hidden.float().cpu().numpy()


def load_audio_encoder(weights: Weights, device: torch.device) -> AudioEncoder:
    """Build the encoder. Raises EncoderError for weights that are damaged or of no model of the family."""
    if weights.path is None:
        return _tiny(weights.seed, device)
    config = _read_json(weights.path / "config.json")
    kind = config.get("model_type")
    if kind not in FAMILY:
        raise EncoderError(f"{weights.name}: expected a model of type {', '.join(FAMILY)}, got {kind!r}")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(
            weights.path, local_files_only=True, trust_remote_code=False, dtype=torch.float32
        )
    except Exception as error:
        # safetensors, pickle and transformers each have their own; the user needs the one line.
        raise EncoderError(f"{weights.name}: the weights cannot be loaded ({str(error).splitlines()[0]})") from None
    _check_strides(weights.name, model.config)
    preprocessor = weights.path / "preprocessor_config.json"
    by_default = config.get("feat_extract_norm") == "layer"
    normalise = _read_json(preprocessor).get("do_normalize", by_default) if preprocessor.is_file() else by_default
    return AudioEncoder(model=model, width=int(model.config.hidden_size), normalise=bool(normalise), device=device)


def _check_strides(name: str, config: Any) -> None:
    hop = int(np.prod(config.conv_stride))
    if hop != AUDIO_HOP_SAMPLES:
        raise EncoderError(f"{name}: expected hidden states every {AUDIO_HOP_SAMPLES} samples (50 Hz), got every {hop}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EncoderError(f"{path}: expected a JSON file, got one that cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise EncoderError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _tiny(seed: int, device: torch.device) -> AudioEncoder:
    """A wav2vec2 of 64 dimensions and two layers with seeded random weights, for the demo and the tests."""
    config = Wav2Vec2Config(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, conv_dim=(64,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, feat_extract_norm="layer", conv_bias=True,
        do_stable_layer_norm=True,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Wav2Vec2Model(config)
    return AudioEncoder(model=model, width=64, normalise=False, device=device)
