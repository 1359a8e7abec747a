"""How a stream is extracted, and the config hash of its shards: it covers exactly what changes the numbers."""

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, cast

from ...shared.config.settings import AudioSettings, ExtractSettings, FaceSettings, StreamSettings, modality_of
from ...shared.errors import EncoderError
from ...shared.store.catalog import context_turns
from ...shared.store.shard import ShardHeader
from ...shared.timing import SAMPLE_RATE
from ..audio.config import audio_rate_hz, chosen_layers, stored_layers
from ..encoders.weights import FACENET_SIZE, Weights, find_audio_weights, find_face_weights, find_text_weights
from ..face.config import face_crop, is_vision_model
from ..text.config import text_layers

# Part of the config hash; increase it when a change of the code changes the numbers.
AUDIO_ALGORITHM = 2
FACE_ALGORITHM = 4
TEXT_ALGORITHM = 1

DETECTION_KEYS = ("size", "crop_shape", "margin", "choose", "min_face_fraction", "min_probability", "detect_stride")
"""Settings without effect where no face is detected (extract.face.region: crop or frame)."""

LATER_KEYS = {"crop_shape": "square", "choose": "first-followed"}
"""Keys that older configurations lack, and the value that a missing key means."""

NEURAL_KEYS = ("layers", "max_seconds", "precision")
"""Settings without effect on openSMILE, which has no layers, no windows and its own arithmetic."""


_FIND_WEIGHTS = {"audio": find_audio_weights, "face": find_face_weights, "text": find_text_weights}

LIBRARIES_BYTES = 0.9e9
ACTIVATION_BYTES = 0.75e9
"""Memory of a worker without encoders, and what the encoders need in addition to their weights (measured on a CPU)."""


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """Everything that a worker needs to compute a stream, and the header that its shards get.

    `stream` is its name: `audio`, `face`, `text`, or `face/clip` where a modality has several.
    """

    stream: str
    settings: StreamSettings
    weights: Weights
    header: ShardHeader

    @property
    def modality(self) -> str:
        """The stream's modality."""
        return self.header.modality

    @property
    def context(self) -> int:
        """Number of previous turns that the encoder reads."""
        return context_turns(self.header.config)

    @property
    def stored_layers(self) -> int:
        """Number of vectors per frame of audio or video."""
        return stored_layers(self.settings.layers, self.weights) if isinstance(self.settings, AudioSettings) else 1

    @property
    def dtype(self) -> Literal["float16", "float32"]:
        """Number format of the stored features."""
        return cast(Literal["float16", "float32"], self.header.config["dtype"])

    @property
    def config_hash(self) -> str:
        """The config hash of its shards, 64 hexadecimal digits."""
        return self.header.config_hash


def build_stream_spec(settings: ExtractSettings, stream: str, *, fetch: bool = True) -> StreamSpec:
    """Describe how a stream is extracted with these settings.

    Args:
        settings: the section `extract` of the settings.
        stream: `audio`, `face`, `text`, or a name from `extract.encoders`.
        fetch: download the encoder's weights if they are not on this machine.

    Returns:
        The settings, weights and shard header of the stream.

    Raises:
        EncoderError: the weights cannot be downloaded or, without `fetch`, are not on this machine.
    """
    stream_settings = settings.stream(stream)
    if isinstance(stream_settings, AudioSettings):
        weights = find_audio_weights(stream_settings.encoder, stream_settings.revision, settings.seed, fetch=fetch)
        config = {"algorithm": AUDIO_ALGORITHM, "sample_rate_hz": SAMPLE_RATE, **_plain(stream_settings)}
        # The mean is the default of shards made before the setting existed.
        if stream_settings.channel == "mean":
            del config["channel"]
        # Counted from the first layer: -1 and the last layer's number are the same features.
        config["layers"] = chosen_layers(stream_settings.layers, weights)
        rate_hz = audio_rate_hz(weights)
    elif isinstance(stream_settings, FaceSettings):
        weights = find_face_weights(stream_settings.encoder, stream_settings.revision, settings.seed, fetch=fetch)
        config = {"algorithm": FACE_ALGORITHM, "detector": "mtcnn", **_plain(stream_settings)}
        # The default size and the same size given explicitly are the same images; a vision model has only one size.
        config["size"] = None if is_vision_model(weights) else stream_settings.size or FACENET_SIZE
        crop = face_crop(stream_settings, weights)
        config |= {"crop_shape": crop.shape, "margin": crop.margin}
        # Keys that came later are left out where they have the value of before, so that older shards keep their hash.
        config = {name: value for name, value in config.items() if LATER_KEYS.get(name) != value}
        if stream_settings.region != "face":
            config = {name: value for name, value in config.items() if name not in (*DETECTION_KEYS, "detector")}
        rate_hz = stream_settings.fps
    else:
        weights = find_text_weights(stream_settings.encoder, stream_settings.revision, settings.seed, fetch=fetch)
        config = {"algorithm": TEXT_ALGORITHM, **_plain(stream_settings)}
        config["layers"] = text_layers(stream_settings.layers, weights)
        if not stream_settings.context:
            del config["speakers"]
        # Tokens have no times.
        rate_hz = 0.0
    config |= {"weights": weights.digest, "precision": settings.precision, "dtype": settings.dtype}
    if weights.opensmile:
        # Its features reach 1e11, beyond float16; the other settings do not concern it.
        config = {name: config[name] for name in config if name not in NEURAL_KEYS} | {"dtype": "float32"}
    modality = modality_of(stream)
    header = ShardHeader(
        modality=modality,
        config_hash=sha256(json.dumps([modality, config], sort_keys=True).encode()).hexdigest(),
        rate_hz=rate_hz,
        encoder=weights.name,
        revision=weights.revision,
        weights=weights.digest,
        random_weights=weights.random,
        config=config,
    )
    return StreamSpec(stream=stream, settings=stream_settings, weights=weights, header=header)


def check_weights(spec: StreamSpec) -> None:
    """Check that this machine has the weights of a stream under the same path as the machine of the command.

    Raises:
        EncoderError: it has none there, or others.
    """
    weights = spec.weights
    if weights.random:
        return
    host = socket.gethostname()
    if weights.path is not None and not weights.path.exists():
        raise EncoderError(
            f"{weights.name}: there is no {weights.path} on {host}, where a worker runs; put the encoder into a folder "
            "that all machines see under the same path"
        )
    encoder = weights.name if weights.path is None else str(weights.path)
    found = _FIND_WEIGHTS[spec.modality](encoder, weights.revision, weights.seed, fetch=False)
    if found.digest != weights.digest:
        raise EncoderError(
            f"{weights.name}: expected the weights of this command ({weights.digest[:16]}...), got others "
            f"({found.digest[:16]}...) on {host}, where a worker runs; copy the same files to all machines"
        )


def memory_needed(specs: Iterable[StreamSpec]) -> int:
    """Bytes of memory that a worker needs for these streams, estimated from the size of their weights."""
    weights = sum(spec.weights.size for spec in specs)
    return round(LIBRARIES_BYTES + weights + (ACTIVATION_BYTES if weights else 0.0))


def current_config_hash(settings: ExtractSettings, stream: str) -> str:
    """The config hash of the shards that these settings make; nothing is downloaded.

    Raises EncoderError if the weights are not on this machine.
    """
    return build_stream_spec(settings, stream, fetch=False).config_hash


def _plain(settings: StreamSettings) -> dict[str, Any]:
    """The settings that change the numbers. Encoders count by the hash of their weights, because names may differ."""
    return settings.model_dump(mode="json", exclude={"encoder", "revision"})
