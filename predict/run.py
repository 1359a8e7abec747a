"""The main flow of `foal predict`: from clips and a trained model to probabilities.

1  load         networks of a run, and the encoders of its features              load_trained, find_encoders
2  cut          stretches of speech, equal pieces, faces of several people       _parts
3  extract      what is not in the cache, by the code of `foal extract`          extracted_features
4  predict      means over folds and seeds, for clips and for windows            Scoring
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..shared.config.settings import AudioSettings, FaceSettings, Settings
from ..shared.errors import FoalError, MediaError, UsageError
from ..shared.parallel.device import select_device
from ..shared.store.feature_store import FeatureStore
from ..shared.text import counted
from ..shared.timing import Seconds
from ..shared.utterance import Utterance
from .extraction.cache import extracted_features
from .extraction.encoders import ModelStream, detects_faces, encoder_options, find_encoders
from .output.prediction import ClipPredictions, FaceTrace, Failed, Prediction
from .scoring import Scoring
from .segments.cuts import Kind, segmented
from .sources import Clips
from .trained import TrainedModel, load_trained, open_unlabelled

SPEAKER = "speaker"
"""The speaker of all clips with --speaker-from."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What is predicted, and how.

    Attributes:
        encoders: STREAM=FOLDER_OR_NAME of encoders that are not where they were at the extraction.
        features: folder of the cache.
        workers: Dask workers for extraction (0: this process).
        window, hop: length and distance of sliding windows, in seconds (window None: no windows).
        segments: cut the clips into segments, each predicted on its own.
        piece: length of the pieces of `segments: fixed`, in seconds.
        all_faces: predict each face of a clip on its own.
        face_boxes: return where the faces are, for pictures.
        speaker: clips of the speaker, for the statistics of a model with `normalize: speaker`.
    """

    encoders: tuple[str, ...] = ()
    features: Path
    workers: int = 0
    window: Seconds | None = None
    hop: Seconds = 1.0
    segments: Kind | None = None
    piece: Seconds = 4.0
    all_faces: bool = False
    face_boxes: bool = False
    speaker: Clips | None = None


def predict(
    clips: Clips,
    model_folder: Path,
    settings: Settings,
    options: PredictOptions,
    *,
    fold: int | None = None,
    final: bool = False,
) -> ClipPredictions:
    """Predict clips with the model in a folder; see `load_trained` for `fold` and `final`, and `predict_with`.

    Raises StoreError, beside the errors of `predict_with`, if the model cannot be loaded.
    """
    device = select_device(settings.cluster.device)
    model = load_trained(model_folder, fold=fold, final=final, device=device)
    return predict_with(model, clips, settings, options)


def predict_with(model: TrainedModel, clips: Clips, settings: Settings, options: PredictOptions) -> ClipPredictions:
    """Predict clips with a loaded model.

    Args:
        model: the model.
        clips: what is to be predicted.
        settings: cluster settings.
        options: what is predicted, and how.

    Returns:
        The predictions of what could be predicted, and the rest with the reasons.

    Raises:
        FoalError: an encoder cannot be loaded, or nothing could be predicted.
        UsageError: options that do not fit the model.
    """
    # The clips of one call fit into memory, and windows are cut there.
    model = replace(model, settings=model.settings.model_copy(update={"load": "memory"}))
    if options.speaker is not None and model.settings.normalize != "speaker":
        raise UsageError("--speaker-from: the model was not trained with --normalize speaker; leave the option out")
    streams = find_encoders(model.source, model.provenance, encoder_options(options.encoders, list(model.provenance)))
    clips, notes, unreadable = _parts(clips, streams, options)
    references = () if options.speaker is None else options.speaker.utterances
    wanted = clips.utterances if options.speaker is None else _of_one_speaker(clips, options.speaker)
    with extracted_features(wanted, streams, settings, folder=options.features, workers=options.workers) as extracted:
        names = {**clips.names, **({} if options.speaker is None else options.speaker.names)}
        reasons = {failure.id: failure.reason for failure in extracted.failures} | unreadable
        bad = [f"{names[u.id]}: {reasons[u.id]}" for u in references if u.id in reasons]
        if bad:
            raise FoalError(f"--speaker-from: {bad[0]}")
        predictions: list[Prediction] = []
        traces: dict[str, FaceTrace] = {}
        if extracted.index is not None:
            chosen = {utterance.id for utterance in clips.utterances} - set(unreadable)
            with open_unlabelled(model, extracted.index) as data, FeatureStore(extracted.index) as store:
                scoring = Scoring(
                    model=model,
                    data=data,
                    store=store,
                    clips=clips,
                    notes=notes,
                    statistics="fold" if options.speaker is None else "features",
                )
                predictions = scoring.predict(chosen, reasons, window=options.window, hop=options.hop)
                if options.face_boxes:
                    traces = {data.ids[row]: trace for row in range(len(data)) if (trace := scoring.face_trace(row))}
    failures = tuple(
        Failed(name=clips.name(u.id), media=u.video or u.audio, reason=reasons[u.id])
        for u in clips.utterances
        if u.id in reasons
    )
    if not predictions:
        first = failures[0]
        more = "" if len(failures) == 1 else f"none of {counted(len(failures), 'clip')} could be predicted; the first: "
        raise FoalError(f"{more}{first.name}: {first.reason}")
    return ClipPredictions(
        model=model.name,
        classes=model.classes,
        ratings=model.ratings,
        predictions=tuple(predictions),
        failures=failures,
        warnings=tuple(_warnings(model, clips, options)),
        traces=traces,
    )


def _parts(
    clips: Clips, streams: Mapping[str, ModelStream], options: PredictOptions
) -> tuple[Clips, dict[str, str], dict[str, str]]:
    """Cut the clips into what is predicted: the parts, notes and reasons of failures by id."""
    utterances, names = list(clips.utterances), dict(clips.names)
    notes: dict[str, str] = {}
    reasons: dict[str, str] = {}
    if options.all_faces:
        utterances = _split_faces(utterances, streams, reasons)
    if options.segments is not None:
        audio = [found.spec.settings for found in streams.values() if isinstance(found.spec.settings, AudioSettings)]
        channel = audio[0].channel if audio else "mean"
        utterances, notes = segmented(utterances, options.segments, window=options.piece, channel=channel)
    for utterance in utterances:
        if utterance.id not in names:
            whole = next(name for name in _prefixes(utterance.id) if name in names)
            names[utterance.id] = names[whole] + utterance.id.removeprefix(whole)
    return Clips(utterances=tuple(utterances), names=names), notes, reasons


def _prefixes(part_id: str) -> list[str]:
    """The ids of which a part may be a part, the longest first."""
    pieces = part_id.split("#")
    return ["#".join(pieces[:count]) for count in range(len(pieces) - 1, 0, -1)]


def _split_faces(
    utterances: Sequence[Utterance], streams: Mapping[str, ModelStream], reasons: dict[str, str]
) -> list[Utterance]:
    from ..extract.face.detector import FaceDetector
    from ..shared.cli.progress import progress_display
    from .segments.faces import face_utterances

    settings = next((found.spec.settings for found in streams.values() if detects_faces(found.spec)), None)
    if not isinstance(settings, FaceSettings):
        raise UsageError("--faces all: the model reads no detected faces, so that there are none to tell apart")
    detector = FaceDetector(
        min_face_fraction=settings.min_face_fraction,
        min_probability=settings.min_probability,
        device=torch.device("cpu"),
    )
    result: list[Utterance] = []
    with progress_display("faces", total=len(utterances), unit="clips") as display:
        for utterance in utterances:
            try:
                result += face_utterances(utterance, settings, detector)
            except MediaError as error:
                result.append(utterance)
                reasons[utterance.id] = str(error)
            display.advance()
    return result


def _of_one_speaker(clips: Clips, references: Clips) -> list[Utterance]:
    """The clips and those of --speaker-from, all as of one speaker."""
    # The split names the folder of the cache; it must not change with the corpus.
    return [
        replace(utterance, corpus=SPEAKER, speaker=SPEAKER, session=utterance.split)
        for utterance in {u.id: u for u in (*clips.utterances, *references.utterances)}.values()
    ]


def _warnings(model: TrainedModel, clips: Clips, options: PredictOptions) -> list[str]:
    """What a reader of the predictions should know."""
    warnings = []
    if any(made["random_weights"] for made in model.provenance.values()):
        warnings.append("random weights: an encoder has random weights; the predictions only show that foal runs")
    if model.metadata["selected_on_test"]:
        warnings.append("selected on test: the run chose its epochs on the test groups")
    if model.settings.normalize == "speaker" and options.speaker is None:
        warnings.append(
            "speaker statistics: the model was trained with those of each speaker; here those of the training group "
            "are used. Give clips of the speaker with --speaker-from"
        )
    known = set(model.metadata["groups"]["corpora"])
    if seen := [utterance.id for utterance in clips.utterances if utterance.corpus in known]:
        warnings.append(
            f"{counted(len(seen), 'utterance')} may belong to the training of these networks, as the run has their "
            "corpus; `foal evaluate` scores them by the others only"
        )
    return warnings
