"""Predictions for the utterances of an index and for windows over them, with what is missing in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..shared.config.settings import modality_of
from ..shared.store.feature_store import FeatureStore
from ..shared.timing import Seconds
from ..train.data.dataset import Dataset
from .extraction.cache import media_seconds
from .output.prediction import FaceTrace, Prediction
from .segments.windows import Window, empty_windows, windowed
from .sources import Clips
from .trained import Predicted, StatisticsOf, TrainedModel

ABSENT = {"audio": "no sound", "face": "no face", "text": "no words"}


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """A model and the features of clips.

    Attributes:
        model: the model.
        data: the clips, opened for it.
        store: the same features.
        clips: the clips and their names.
        notes: notes about clips, by id.
        statistics: of what a model with `normalize: speaker` takes the statistics.
    """

    model: TrainedModel
    data: Dataset
    store: FeatureStore
    clips: Clips
    notes: Mapping[str, str]
    statistics: StatisticsOf

    def predict(
        self, chosen: set[str], reasons: dict[str, str], *, window: Seconds | None, hop: Seconds
    ) -> list[Prediction]:
        """Predict the chosen utterances and, with `window`, windows over them.

        Args:
            chosen: ids of the utterances.
            reasons: utterances without any data are added, with the reason, instead of being predicted.
            window: length of windows, in seconds.
            hop: distance of their starts.

        Returns:
            Each utterance, followed by its windows. Windows without any data are left out.
        """
        rows = [row for row, utterance in enumerate(self.data.utterances) if utterance.id in chosen]
        for row in rows:
            if len(self.missing[row]) == len(self.model.streams):
                reasons[self.data.ids[row]] = self._nothing(row)
        rows = [row for row in rows if len(self.missing[row]) < len(self.model.streams)]
        if not rows:
            return []
        predicted = self.model.predict(self.data, rows=rows, speaker_statistics=self.statistics)
        windows = {} if window is None else self._windows(rows, window, hop)
        predictions: list[Prediction] = []
        for number, row in enumerate(rows):
            start, end = self.span(row)
            predictions.append(self._prediction(row, predicted, number, start, end, self.missing[row]))
            predictions += windows.get(row, [])
        return predictions

    @cached_property
    def missing(self) -> list[dict[str, str]]:
        """For each row, the inputs without valid frames, with the reason."""
        found: list[dict[str, str]] = [{} for _ in range(len(self.data))]
        for name, stream in self.data.stream_names.items():
            notes = self.store.notes(stream)
            for row, valid in enumerate(self.store.valid_frames(stream)):
                if not valid:
                    found[row][name] = notes[row]
        return found

    def face_trace(self, row: int) -> FaceTrace | None:
        """Where the face of a row's utterance is; None without a stream of detected faces."""
        utterance = self.data.utterances[row]
        x0, y0, x1, y1 = utterance.box
        for stream in self.data.stream_names.values():
            boxes = self.store.boxes(stream, row)
            if boxes is not None:
                scale = np.array([x1 - x0, y1 - y0] * 2, np.float32)
                whole = boxes * scale + np.array([x0, y0] * 2, np.float32)
                rate_hz = self.store.streams[stream].rate_hz
                return FaceTrace(start=utterance.start or 0.0, rate_hz=rate_hz, boxes=whole)
        return None

    def span(self, row: int) -> tuple[Seconds, Seconds]:
        """Start and end of a row's utterance in its file, in seconds; without an `end` those of the file."""
        utterance = self.data.utterances[row]
        start = utterance.start or 0.0
        if utterance.end is not None:
            return start, utterance.end
        streams = [self.store.streams[name] for name in self.data.stream_names.values()]
        extracted = max(
            (float(self.store.lengths(stream.name)[row]) / stream.rate_hz for stream in streams if stream.rate_hz),
            default=0.0,
        )
        # The last frame may reach beyond the file; of a truncated file there are fewer frames than it declares.
        declared = [media_seconds(utterance, name) for name in ("audio", "face") if utterance.media(name)]
        return start, start + min(extracted, max(declared, default=extracted))

    def _windows(self, rows: Sequence[int], window: Seconds, hop: Seconds) -> dict[int, list[Prediction]]:
        """The windows over some rows, by row."""
        lengths = {row: self.span(row)[1] - self.span(row)[0] for row in rows}
        max_seconds = self.model.settings.max_seconds
        cut, found = windowed(self.data, lengths, window=window, hop=hop, max_seconds=max_seconds)
        empty = empty_windows(cut)
        usable = [n for n in range(len(found)) if not all(bool(flags[n]) for flags in empty.values())]
        predicted = self.model.predict(cut, rows=usable, speaker_statistics=self.statistics)
        result: dict[int, list[Prediction]] = {}
        for number, n in enumerate(usable):
            place = found[n]
            start = self.span(place.row)[0]
            absent = {
                name: self.missing[place.row].get(name) or f"{ABSENT[modality_of(name)]} in this window"
                for name, flags in empty.items()
                if flags[n]
            }
            prediction = self._prediction(
                place.row, predicted, number, start + place.start, start + place.end, absent, window=place
            )
            result.setdefault(place.row, []).append(prediction)
        return result

    def _prediction(
        self,
        row: int,
        predicted: Predicted,
        number: int,
        start: Seconds,
        end: Seconds,
        missing: Mapping[str, str],
        *,
        window: Window | None = None,
    ) -> Prediction:
        utterance = self.data.utterances[row]
        note = self.notes.get(utterance.id, "") if window is None else ""
        if window is not None and window.whole:
            note = "the clip is not longer than a window"
        ratings = () if predicted.ratings is None else map(float, predicted.ratings[number])
        return Prediction(
            id=utterance.id,
            name=self.clips.name(utterance.id),
            media=utterance.video or utterance.audio,
            part="clip" if window is None else "window",
            start=start,
            end=end,
            probabilities=predicted.probabilities[number],
            ratings=dict(zip(self.model.ratings, ratings, strict=False)),
            missing=missing,
            note=note,
            truth=utterance.label if window is None else "",
        )

    def _nothing(self, row: int) -> str:
        """Why an utterance without any data cannot be predicted, in words: "no sound and no face (...)"."""
        names = list(dict.fromkeys(ABSENT[modality_of(name)] for name in self.model.streams))
        details = "; ".join(f"{name}: {note}" for name, note in self.missing[row].items() if note)
        return f"{' and '.join(names)}: nothing to predict from" + (f" ({details})" if details else "")
