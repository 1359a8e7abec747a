"""The encoders of a trained model, found again: same weights, same settings, same hash as its features."""

import glob
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HUB_CACHE
from pydantic import ValidationError

from ...extract.maintenance.clean import IMPORTED
from ...extract.schedule.stream_spec import LATER_KEYS, StreamSpec, build_stream_spec
from ...shared.config.settings import ExtractSettings, FaceSettings, modality_of
from ...shared.errors import EncoderError, UsageError
from ...shared.text import quoted, shortened

SEED = "seed "
"""Beginning of the revision of random weights."""

LOCAL = "local"
"""Revision of weights in a file or folder."""

NOT_SETTINGS = frozenset({"algorithm", "sample_rate_hz", "detector", "weights", "precision", "dtype"})
"""Keys of a configuration that are no settings of the stream."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelStream:
    """A stream of a model: its spec, and the settings of extraction that it was built with."""

    settings: ExtractSettings
    spec: StreamSpec


def encoder_options(texts: Sequence[str], streams: Sequence[str]) -> dict[str, str]:
    """Parse `--encoder STREAM=FOLDER_OR_NAME`.

    Args:
        texts: the options.
        streams: the streams of the model; where only one is of a modality, the modality names it as well.

    Raises:
        UsageError: not of this form, or not a stream of the model.
    """
    chosen: dict[str, str] = {}
    for text in texts:
        stream, equals, encoder = text.partition("=")
        of_modality = [name for name in streams if modality_of(name) == stream]
        if stream not in streams and len(of_modality) == 1:
            stream = of_modality[0]
        if not equals or not encoder or stream not in streams:
            raise UsageError(
                f"--encoder: expected STREAM=FOLDER or STREAM=NAME with a stream of the model ({', '.join(streams)}), "
                f"got {quoted(text)}"
            )
        chosen[stream] = encoder
    return chosen


def find_encoders(
    model: Path, provenance: Mapping[str, Mapping[str, Any]], encoders: Mapping[str, str] | None = None
) -> dict[str, ModelStream]:
    """Describe the extraction of a model's streams, exactly as for its training.

    Args:
        model: folder of the model, for messages.
        provenance: encoder, revision, weights, config_hash and config of each stream of the model.
        encoders: name or folder of the encoder of some streams, where the recorded one is not on this machine.

    Returns:
        The streams by name.

    Raises:
        EncoderError: an encoder cannot be loaded, has other weights, or this version of foal computes other features.
    """
    given = encoders or {}
    return {stream: _find(model, stream, made, given.get(stream)) for stream, made in provenance.items()}


def _find(model: Path, stream: str, made: Mapping[str, Any], given: str | None) -> ModelStream:
    if made["encoder"] == IMPORTED:
        raise EncoderError(
            f"{model}: its {stream} features were computed outside of foal (`foal import`), so that foal cannot "
            "compute them for new media; import those of the new media and use `foal evaluate`"
        )
    settings = _settings_of(model, stream, made, given)
    hint = f"give its folder or name with --encoder {stream}=FOLDER"
    encoder = settings.stream(stream).encoder
    if given is None and made["revision"] == LOCAL and not Path(encoder).exists() and "/" in encoder:
        # A folder of the machine where the features were made; its name must not be looked up on the hub.
        if found := _find_by_hash(model, stream, made):
            return found
        raise EncoderError(f"{model}: the {stream} encoder {encoder} is not on this machine; {hint}")
    try:
        spec = build_stream_spec(settings, stream)
    except EncoderError as error:
        raise EncoderError(f"{model}: the {stream} encoder cannot be loaded: {error}; or {hint}") from None
    if spec.weights.digest != made["weights"]:
        raise EncoderError(
            f"{model}: expected the {stream} encoder {made['encoder']} (weights {made['weights'][:8]}), got "
            f"{spec.weights.name} (weights {spec.weights.digest[:8]}); {hint}"
        )
    if spec.config_hash != made["config_hash"]:
        raise EncoderError(
            f"{model}: this version of foal computes other {stream} features than those of the training "
            f"({_difference(made['config'], spec.header.config)}); extract and train again"
        )
    return ModelStream(settings=settings, spec=spec)


def _find_by_hash(model: Path, stream: str, made: Mapping[str, Any]) -> ModelStream | None:
    """The encoder in another folder of the same name with the recorded hash, or None.

    Searched are the working folder, the folder of the model and its parent, and the cache of the hub.
    """
    name = Path(made["encoder"]).name
    folders = [base / name for base in (Path(), model, model.parent)]
    folders += sorted(Path(HF_HUB_CACHE).glob(f"models--*{glob.escape(name)}/snapshots/*"))
    for folder in filter(Path.is_dir, folders):
        with suppress(EncoderError):
            settings = _settings_of(model, stream, made, str(folder))
            spec = build_stream_spec(settings, stream)
            if spec.config_hash == made["config_hash"]:  # covers the hash of the weights
                log.info(f"{stream}: the encoder {made['encoder']} is {folder}, which has its hash")
                return ModelStream(settings=settings, spec=spec)
    return None


def _settings_of(model: Path, stream: str, made: Mapping[str, Any], given: str | None) -> ExtractSettings:
    """The settings of extraction that give the recorded configuration of a stream."""
    modality, config, revision = modality_of(stream), dict(made["config"]), str(made["revision"])
    if modality == "face" and config.get("region", "face") == "face":
        config = LATER_KEYS | config
    own = {key: value for key, value in config.items() if key not in NOT_SETTINGS}
    own["encoder"] = given or made["encoder"]
    if given is None and revision != LOCAL and not revision.startswith(SEED) and "/" in own["encoder"]:
        own["revision"] = revision
    values: dict[str, Any] = {"streams": [stream], "dtype": config.get("dtype"), "precision": config.get("precision")}
    if revision.startswith(SEED):
        values["seed"] = int(revision.removeprefix(SEED))
    if stream == modality:
        values[modality] = own
    else:
        values["encoders"] = {stream: own}
    try:
        return ExtractSettings.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise EncoderError(
            f"{model}: the recorded configuration of {stream} is not one of this version of foal: "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}; extract and train again"
        ) from None


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first key of two configurations with another value."""
    keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if not keys:
        return "the hashes differ"
    return shortened(f"{keys[0]} was {before.get(keys[0])!r}, is {now.get(keys[0])!r}", 200)


def detects_faces(spec: StreamSpec) -> bool:
    """Whether a stream is computed from detected faces."""
    return isinstance(spec.settings, FaceSettings) and spec.settings.region == "face"
