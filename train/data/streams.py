"""Which streams a run reads, and the names of the network's inputs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from ...shared.config.settings import modality_of
from ...shared.config.train_settings import TrainSettings
from ...shared.errors import TrainingError
from ...shared.store.feature_store import FeatureStore

Pair = tuple[str, str]
"""Two inputs; where it is a direction, the second one is read by the first one."""


def input_names(streams: Sequence[str]) -> tuple[str, ...]:
    """The input of the network for each stream: its modality, or its own name if several are of one modality.

    Args:
        streams: names such as audio, face/clip, text/roberta.

    Example:
        input_names(["audio/hubert", "face"])  # ("audio", "face")
        input_names(["audio/hubert", "audio/wavlm", "text"])  # ("audio/hubert", "audio/wavlm", "text")
    """
    counts = Counter(map(modality_of, streams))
    # PyTorch allows no dot in the name of a module.
    return tuple(modality_of(name) if counts[modality_of(name)] == 1 else name.replace(".", "_") for name in streams)


def wanted_streams(settings: TrainSettings) -> dict[str, str | None]:
    """The stream of each input of a run; None: the only stream of the modality, to be found in the features."""
    named = {name: name if "/" in name else None for name in settings.streams}
    return dict(zip(input_names(settings.streams), named.values(), strict=True))


def select_streams(store: FeatureStore, wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Choose the stream of each input: the configured one, else the only one of its modality, else `audio` itself.

    Args:
        store: an open feats.h5.
        wanted: configured stream name by input (None: choose).

    Raises:
        TrainingError: no stream matches, or several do.
    """
    chosen: dict[str, str] = {}
    for key, name in wanted.items():
        modality = modality_of(key)
        available = [stream for stream in store.streams if modality_of(stream) == modality]
        if name in available or (name is None and modality in available):
            chosen[key] = name or modality
        elif name is None and len(available) == 1:
            chosen[key] = available[0]
        elif name is None and available:
            example = ",".join(available[0] if other == key else text or other for other, text in wanted.items())
            raise TrainingError(
                f"{store.path}: has several {modality} streams, {', '.join(available)}; choose with --streams, such as "
                f"--streams {example}"
            )
        else:
            streams = ", ".join(store.streams) or "none"
            named = f" named {name}" if name else ""
            raise TrainingError(
                f"{store.path}: expected {modality} features{named}, got only {streams}; extract them, or choose "
                "existing ones with --streams"
            )
    return chosen


def stream_warnings(store: FeatureStore, rows: Sequence[int], names: Mapping[str, str]) -> list[str]:
    """Warnings about utterances without valid frames, by input of the streams `names`."""
    warnings = []
    for key, name in names.items():
        if missing := int((store.valid_frames(name)[list(rows)] == 0).sum()):
            warnings.append(
                f"{missing} of {len(rows)} utterances have no {key}: the network substitutes a learned placeholder"
            )
    return warnings


def with_streams(settings: TrainSettings, inputs: Sequence[str]) -> TrainSettings:
    """The settings with the streams of some inputs only."""
    by_input = dict(zip(input_names(settings.streams), settings.streams, strict=True))
    return settings.model_copy(update={"streams": tuple(by_input[name] for name in inputs)})


def leading_stream(inputs: Sequence[str]) -> str:
    """The input that leads a fusion unless an option chooses one: the first of text, else of audio, else of all."""
    by_modality = {modality_of(name): name for name in reversed(inputs)}
    return by_modality.get("text") or by_modality.get("audio") or inputs[0]


def input_pairs(inputs: Sequence[str]) -> list[Pair]:
    """All pairs of inputs, the earlier one first."""
    return list(combinations(inputs, 2))
