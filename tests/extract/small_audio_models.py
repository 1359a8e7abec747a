"""Small models of further families, and their hidden states by a plain loop over processor and model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    PreTrainedModel,
    SeamlessM4TFeatureExtractor,
    SEWConfig,
    SEWModel,
    UniSpeechConfig,
    UniSpeechModel,
    UniSpeechSatConfig,
    UniSpeechSatModel,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from foal.tests.extract.encoders.small_wav2vec2 import SMALL

WHISPER_SECONDS = 2
"""Length to which the small Whisper pads; it is 30 s in the published models."""

BLOCKS: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
WHISPER: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 8,
    "max_source_positions": 50 * WHISPER_SECONDS,
    "vocab_size": 50,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "whisper": lambda: WhisperModel(WhisperConfig(**WHISPER)),
    "wav2vec2-bert": lambda: Wav2Vec2BertModel(Wav2Vec2BertConfig(**BLOCKS)),
    "unispeech": lambda: UniSpeechModel(UniSpeechConfig(**SMALL)),
    "unispeech-sat": lambda: UniSpeechSatModel(UniSpeechSatConfig(**SMALL)),
    "sew": lambda: SEWModel(SEWConfig(**{**SMALL, "conv_dim": (8,) * 13})),
    "mms": lambda: Wav2Vec2Model(
        Wav2Vec2Config(
            **SMALL, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True, adapter_attn_dim=4
        )
    ),
}


def save_family(folder: Path, family: str) -> Path:
    """Save a small model with seeded random weights, and its feature extractor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MODELS[family]().eval().save_pretrained(folder)
    extractor: Any = Wav2Vec2FeatureExtractor(do_normalize=True)
    if family == "whisper":
        extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=WHISPER_SECONDS)
    elif family == "wav2vec2-bert":
        extractor = SeamlessM4TFeatureExtractor()
    extractor.save_pretrained(folder)
    return folder


@torch.inference_mode()
def plain_states(folder: Path, samples: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The last hidden state (t, d) of one waveform and all of them, by transformers alone."""
    model: Any = AutoModel.from_pretrained(folder).eval()
    if model.config.model_type == "whisper":
        model = model.get_encoder()
    batch = AutoFeatureExtractor.from_pretrained(folder)(samples, sampling_rate=16000, return_tensors="pt")
    out = model(**batch, output_hidden_states=True)
    return out.last_hidden_state[0].numpy(), [state[0].numpy() for state in out.hidden_states]
