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
    name, options = settings.fusion, settings.head_options
    needs, streams = options.needs, list(data.stream_names)
    if len(streams) < needs.streams:
        raise TrainingError(
            f"train.fusion: {name} needs at least {needs.streams} streams, got {', '.join(streams)}; add streams to "
            "train.streams, or choose concat or cross-attention"
        )
    if needs.text and not any(modality_of(stream) == "text" for stream in streams):
        raise TrainingError(
            f"train.fusion: {name} needs a text stream, got {', '.join(streams)}; add text to train.streams"
        )
    # Streams of one vector per utterance have rate 1, or 0 if they are pooled text, and hold for all frames.
    rates = {stream: rate for stream, rate in data.rates.items() if rate != 1 and not _pooled_text(data, stream)}
    if needs.grid and len(set(rates.values())) > 1:
        found = ", ".join(f"{stream} {f'{rate:g} Hz' if rate else 'tokens'}" for stream, rate in rates.items())
        raise TrainingError(
            f"train.fusion: {name} needs one frame rate in all streams, got {found}; set train.frame_rate to the "
            "lowest rate, and pool text to one vector when it is extracted (extract.text.pool)"
        )
    for option in ("strong", "anchor"):
        chosen = getattr(options, option, None)
        if chosen is not None and chosen not in streams:
            raise TrainingError(
                f"train.fusion_options.{option}: expected one of the streams {', '.join(streams)}, got {chosen!r}"
            )


def _pooled_text(data: Dataset, stream: str) -> bool:
    """Whether a stream was pooled to one vector per utterance when it was extracted; `stream` is a key of the rates."""
    made = data.provenance.get(data.stream_names.get(stream, stream), {})
    return bool(made.get("config", {}).get("pool", "tokens") != "tokens")
