"""Build audio encoders: a model from a folder, or a small one with seeded random weights.

transformers is imported by the functions that need it: a worker of another stream need not wait for it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...shared.config.settings import AudioSettings
from ...shared.errors import EncoderError
from ...shared.timing import SAMPLE_RATE, Seconds
from ..encoders.inference import quiet_transformers
from ..encoders.pretrained import first_line, load_pretrained
from ..encoders.weights import Weights, read_json
from .config import TINY_LAYERS, TINY_WIDTH, audio_config, chosen_layers
from .encoder import AudioEncoder, AudioModel
from .padding import BatchInvariantModel
from .spectrogram import MEL_HOP, StackedMelModel, WhisperAudioModel
from .squeezed import SqueezedModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TRAINING_ONLY = frozenset({"masked_spec_embed"})
"""Weights that a checkpoint may lack: they replace masked frames, and nothing is masked here."""

WHISPER_ENCODER_KEYS = {r"^(model\.)?encoder\.": ""}
"""Where the encoder's weights are in a checkpoint of the whole model; the decoder's are not read."""


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
        precision: fp32, tf32, bf16 or fp16, see `autocast`; hidden states are always float32.
        batch_seconds: audio per batch, including padding; 0 encodes utterances one by one.

    Raises:
        EncoderError: the weights are damaged, incomplete, or of another family.
    """
    settings = settings or AudioSettings()
    layers = chosen_layers(settings.layers, weights)
    if weights.path is None:
        model: AudioModel = BatchInvariantModel(_tiny(weights.seed), device)
    else:
        model = _load(weights, weights.path, device)
    return AudioEncoder(
        model=model,
        layers=layers,
        device=device,
        precision=precision,
        max_seconds=settings.max_seconds,
        batch_seconds=batch_seconds,
    )


def _load(weights: Weights, folder: Path, device: torch.device) -> AudioModel:
    from transformers import AutoModel

    config = audio_config(weights)
    model_type = config["model_type"]
    if model_type == "whisper":
        from transformers import WhisperFeatureExtractor
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        extractor = _load_extractor(folder, WhisperFeatureExtractor, feature_size=config["num_mel_bins"])
        _check_whisper(weights, config, extractor)
        encoder = _load_model(weights, folder, WhisperEncoder, model_type, key_mapping=WHISPER_ENCODER_KEYS)
        return WhisperAudioModel(encoder, extractor, device)
    model = _load_model(weights, folder, AutoModel, model_type)
    if model_type == "wav2vec2-bert":
        from transformers import SeamlessM4TFeatureExtractor

        return StackedMelModel(model, _load_extractor(folder, SeamlessM4TFeatureExtractor), device)
    preprocessor = folder / "preprocessor_config.json"
    normalize = config.get("feat_extract_norm") == "layer"
    if preprocessor.is_file():
        normalize = bool(read_json(preprocessor).get("do_normalize", normalize))
    wrapper = SqueezedModel if model_type == "sew" else BatchInvariantModel
    return wrapper(model, device, normalize=normalize)


def _load_model(weights: Weights, folder: Path, loader: Any, model_type: str, **options: Any) -> "PreTrainedModel":
    model, report = load_pretrained(loader, folder, weights.name, **options)
    missing = sorted(set(report["missing_keys"]) - TRAINING_ONLY)
    if missing:
        raise EncoderError(
            f"{weights.name}: {len(missing)} weights of a {model_type} model are missing in its file, such as "
            f"{missing[0]}; is it the file of another model?"
        )
    loaded: PreTrainedModel = model
    return loaded


def _load_extractor(folder: Path, extractor: Any, **defaults: Any) -> Any:
    """The feature extractor that the folder describes; without preprocessor_config.json the one with the defaults."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return extractor(**defaults)
    read_json(path)
    try:
        with quiet_transformers():
            return extractor.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise EncoderError(f"{path}: the feature extractor cannot be used ({first_line(error)})") from None


def _check_whisper(weights: Weights, config: dict[str, Any], extractor: Any) -> None:
    """Raise EncoderError unless the feature extractor makes the spectrogram that the encoder reads."""
    seconds = config["max_source_positions"] * 2 * MEL_HOP / SAMPLE_RATE
    expected = (config["num_mel_bins"], SAMPLE_RATE, MEL_HOP, round(seconds * SAMPLE_RATE))
    found = (extractor.feature_size, extractor.sampling_rate, extractor.hop_length, extractor.n_samples)
    if found != expected:
        raise EncoderError(
            f"{weights.name}: by config.json expected (mel bins, sample rate, hop, samples) {expected}, got {found} in "
            "preprocessor_config.json; are both of the same model?"
        )


def _tiny(seed: int) -> "PreTrainedModel":
    """A wav2vec2 of two layers and width 64 with seeded random weights, for the demo and the tests."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

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
