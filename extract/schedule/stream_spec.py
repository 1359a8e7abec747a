"""How a stream is extracted, as the header of its shards; its key covers what changes the numbers, nothing else."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ...shared.config.settings import AudioSettings, ExtractSettings, FaceSettings, modality_of
from ...shared.store.shard import ShardHeader
from ...shared.timing import AUDIO_RATE_HZ, SAMPLE_RATE
from ..audio.config import chosen_layers
from ..encoders.weights import FACENET_SIZE, Weights, find_audio_weights, find_face_weights

# Part of the keys; goes up when a change of the code changes the numbers.
AUDIO_ALGORITHM = 2
FACE_ALGORITHM = 3

FACE_ONLY = ("size", "margin", "min_face_fraction", "min_probability", "detect_stride")
"""What changes nothing where no face is looked for."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a worker needs to compute a stream, and the header that its shards get.

    `stream` is its name, `audio`, `face`, or `face/clip` where a modality has several.
    """

    stream: str
    settings: AudioSettings | FaceSettings
    weights: Weights
    header: ShardHeader

    @property
    def modality(self) -> str:
        """The stream's modality."""
        return self.header.modality


def recipe(settings: ExtractSettings, stream: str, *, fetch: bool = True) -> Recipe:
    """The recipe of a stream; raises EncoderError if its weights are not to be had (without `fetch`: are not here)."""
    of_stream = settings.stream(stream)
    if isinstance(of_stream, AudioSettings):
        weights = find_audio_weights(of_stream.encoder, of_stream.revision, settings.seed, fetch=fetch)
        changes = {"algorithm": AUDIO_ALGORITHM, "sample_rate_hz": SAMPLE_RATE, **_plain(of_stream)}
        # Counted from the first: -1 and the last layer's number are the same features.
        changes["layers"] = chosen_layers(of_stream.layers, weights)
        rate_hz = AUDIO_RATE_HZ
    else:
        weights = find_face_weights(of_stream.encoder, of_stream.revision, settings.seed, fetch=fetch)
        changes = {"algorithm": FACE_ALGORITHM, "detector": "mtcnn", **_plain(of_stream)}
        # Said or not, the encoder's own size is the same pictures; a vision model takes no other.
        vision = weights.path is not None and weights.path.is_dir()
        changes["size"] = None if vision else of_stream.size or FACENET_SIZE
        if of_stream.region != "face":
            changes = {name: value for name, value in changes.items() if name not in (*FACE_ONLY, "detector")}
        rate_hz = of_stream.fps
    changes |= {"weights": weights.digest, "precision": settings.precision, "dtype": settings.dtype}
    modality = modality_of(stream)
    key = sha256(json.dumps([modality, changes], sort_keys=True).encode()).hexdigest()
    header = ShardHeader(
        modality=modality,
        config_hash=key,
        rate_hz=rate_hz,
        encoder=weights.name,
        revision=weights.revision,
        weights=weights.digest,
        random_weights=weights.random,
        config=changes,
    )
    return Recipe(stream=stream, settings=of_stream, weights=weights, header=header)


def present_key(settings: ExtractSettings, stream: str) -> str:
    """The key of the shards that these settings make; raises EncoderError if the weights are not on this machine.

    Nothing is downloaded only to learn a key.
    """
    return recipe(settings, stream, fetch=False).header.config_hash


def _plain(settings: AudioSettings | FaceSettings) -> dict[str, Any]:
    """What changes the numbers; the encoder counts by its weights' hash, since its name may be another elsewhere."""
    return settings.model_dump(mode="json", exclude={"encoder", "revision"})
