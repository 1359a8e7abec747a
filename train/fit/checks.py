"""Checks of a run's targets and of its fusion head before anything is fitted."""

from ...shared.config.extract_settings import modality_of
from ...shared.config.train_settings import TrainSettings
from ...shared.errors import TrainingError
from ..data.dataset import Dataset
from ..data.protocol import CrossValidation, check_classes
from ..targets.columns import check_training_ratings


def check_targets(data: Dataset, folds: CrossValidation) -> None:
    """Raise TrainingError if a training group lacks a class, or its ratings of a dimension are missing or constant."""
    if data.classes:
        check_classes(folds.folds, data.labels, data.classes)
    named = (
        (f"fold {fold.number} (test {fold.test}, development {fold.dev})", fold.train_rows) for fold in folds.folds
    )
    check_training_ratings(data.targets, named)


def check_fusion(data: Dataset, settings: TrainSettings) -> None:
    """Raise TrainingError if the features lack what the fusion head needs: streams, text, or one frame rate."""
    if problem := unmet_need(data, settings):
        raise TrainingError(f"train.fusion: {problem}")
    options, streams = settings.head_options, list(data.stream_names)
    for option in ("strong", "anchor"):
        chosen = getattr(options, option, None)
        if chosen is not None and chosen not in streams:
            raise TrainingError(
                f"train.fusion_options.{option}: expected one of the streams {', '.join(streams)}, got {chosen!r}"
            )


def unmet_need(data: Dataset, settings: TrainSettings) -> str | None:
    """What the fusion head needs and the features lack, as in "tfn needs at least 2 streams, ..."; None if nothing."""
    name, needs, streams = settings.fusion, settings.head_options.needs, list(data.stream_names)
    if len(streams) < needs.streams:
        return (
            f"{name} needs at least {needs.streams} streams, got {', '.join(streams)}; add streams to "
            "train.streams, or choose concat or cross-attention"
        )
    if needs.text and not any(modality_of(stream) == "text" for stream in streams):
        return f"{name} needs a text stream, got {', '.join(streams)}; add text to train.streams"
    # One vector per utterance holds for all frames.
    rates = {stream: rate for stream, rate in data.rates.items() if not _is_single_vector(data, stream, rate)}
    if needs.grid and len(set(rates.values())) > 1:
        found = ", ".join(f"{stream} {f'{rate:g} Hz' if rate else 'tokens'}" for stream, rate in rates.items())
        return (
            f"{name} needs one frame rate in all streams, got {found}; set train.frame_rate to the "
            "lowest rate, and pool text to one vector when it is extracted (extract.text.pool)"
        )
    return None


def _is_single_vector(data: Dataset, stream: str, rate: float) -> bool:
    """Whether a stream has one vector per utterance: imported ones have rate 1, pooled text 0 as tokens have."""
    config = data.provenance.get(data.stream_names.get(stream, stream), {}).get("config", {})
    return bool(config.get("pool", "tokens") != "tokens") if rate == 0 else rate == 1 and "fps" not in config
