"""What was predicted for a clip, a segment or a window, independent of how it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...shared.timing import Seconds

Part = Literal["clip", "window"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One row of the output.

    Attributes:
        id: id of the utterance that it belongs to.
        name: the utterance's name in the output.
        media: its file; of an utterance without any empty.
        part: "clip" for a whole utterance (a file, a row of a manifest, a segment, a face), "window" for a part of it.
        start, end: in seconds of the file.
        probabilities: of the classes, (c,); empty for a model of ratings only.
        ratings: predicted ratings by dimension; empty if the model predicts none.
        missing: inputs of the network without data, for which it used its learned embedding, with the reason.
        note: what else should be known.
        truth: label of the manifest; empty if there is none.
    """

    id: str
    name: str
    media: str
    part: Part
    start: Seconds
    end: Seconds
    probabilities: NDArray[np.float32]
    ratings: Mapping[str, float]
    missing: Mapping[str, str]
    note: str = ""
    truth: str = ""

    def label(self, classes: Sequence[str]) -> str:
        """The most probable class; empty for a model of ratings only."""
        return classes[int(self.probabilities.argmax())] if len(self.probabilities) else ""

    def probability(self) -> float:
        """The probability of the most probable class."""
        return float(self.probabilities.max()) if len(self.probabilities) else float("nan")

    def missing_text(self) -> str:
        """The missing inputs in words: "face (no face found)"."""
        return ", ".join(f"{name} ({reason})" if reason else name for name, reason in self.missing.items())

    def as_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """As an object of predictions.jsonl."""
        return {
            "id": self.name,
            "media": self.media,
            "part": self.part,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            **({"label": self.truth} if self.truth else {}),
            **({"predicted": self.label(classes)} if classes else {}),
            "probabilities": {name: float(p) for name, p in zip(classes, self.probabilities, strict=True)},
            **({"ratings": dict(self.ratings)} if self.ratings else {}),
            "missing": dict(self.missing),
            "note": self.note,
        }


@dataclass(frozen=True, kw_only=True)
class FaceTrace:
    """Where the face of an utterance is.

    Attributes:
        start: start of the utterance in its file, in seconds.
        rate_hz: frames per second; frame k is at start + (k + 0.5) / rate_hz.
        boxes: x0, y0, x1, y1 in fractions of the picture, (t, 4); NaN without a face.
    """

    start: Seconds
    rate_hz: float
    boxes: NDArray[np.float32]

    def box_at(self, seconds: Seconds) -> NDArray[np.float32] | None:
        """The face (4,) in the picture at a time of the file; None if there is none."""
        position = int((seconds - self.start) * self.rate_hz)
        if not 0 <= position < len(self.boxes) or np.isnan(self.boxes[position]).any():
            return None
        box: NDArray[np.float32] = self.boxes[position]
        return box


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A clip that could not be predicted: its name, its file and the reason."""

    name: str
    media: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ClipPredictions:
    """The result of a prediction: the rows, windows after the utterance that they belong to, and what failed.

    `traces` is where the faces of the utterances are, by id, as far as it was asked for.
    """

    model: str
    classes: tuple[str, ...]
    ratings: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    failures: tuple[Failed, ...]
    warnings: tuple[str, ...] = ()
    traces: Mapping[str, FaceTrace] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 3 if some clips could not be predicted."""
        return 3 if self.failures else 0

    def as_json(self) -> dict[str, Any]:
        """The result of `--json`."""
        return {
            "model": self.model,
            "classes": list(self.classes),
            "ratings": list(self.ratings),
            "predictions": [row.as_json(self.classes) for row in self.predictions],
            "failures": [{"id": f.name, "media": f.media, "reason": f.reason} for f in self.failures],
            "warnings": list(self.warnings),
        }
