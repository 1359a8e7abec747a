"""How a modality is extracted, as the header of its shards; its key covers what changes the numbers, nothing else."""

import json
from hashlib import sha256
from typing import Any

from ..shared.settings import ExtractSettings
from ..shared.shard import ShardHeader
from ..shared.timing import AUDIO_RATE_HZ, SAMPLE_RATE
from .weights import Weights, find_audio_weights, find_face_weights

# Part of the keys; goes up when a change of the code changes the numbers.
AUDIO_ALGORITHM = 1
FACE_ALGORITHM = 1


def find_weights(settings: ExtractSettings, modality: str) -> Weights:
    """The weights of a modality's encoder; raises EncoderError if they are not to be had."""
    if modality == "audio":
        return find_audio_weights(settings.audio.encoder, settings.audio.revision, settings.seed)
    return find_face_weights(settings.face.encoder, settings.seed)


def present_key(settings: ExtractSettings, modality: str) -> str:
    """The key of the shards that these settings make; raises EncoderError if the weights are not to be had."""
    return shard_header(settings, modality, find_weights(settings, modality)).key


def shard_header(settings: ExtractSettings, modality: str, weights: Weights) -> ShardHeader:
    """The header of a modality's shards. The encoder counts by its weights' hash: its name may be another elsewhere."""
    changes: dict[str, Any] = {"weights": weights.digest, "store": settings.store}
    if modality == "audio":
        changes |= {"algorithm": AUDIO_ALGORITHM, "sample_rate_hz": SAMPLE_RATE, "layers": "last"}
        rate_hz = AUDIO_RATE_HZ
    else:
        changes |= {"algorithm": FACE_ALGORITHM, "detector": "mtcnn", **settings.face.model_dump(exclude={"encoder"})}
        rate_hz = settings.face.fps
    key = sha256(json.dumps([modality, changes], sort_keys=True).encode()).hexdigest()
    return ShardHeader(
        modality=modality, key=key, rate_hz=rate_hz, encoder=weights.name, revision=weights.revision,
        weights=weights.digest, random_weights=weights.random, config=changes,
    )  # fmt: skip
