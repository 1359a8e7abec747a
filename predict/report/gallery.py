"""The gallery of the most confident mistakes: predictions of the run with media of the corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ...shared.config.settings import Settings
from ...shared.errors import FoalError, UsageError
from ...shared.store.feature_store import FeatureStore
from ...train.report.formatting import percent
from .charts import wave_chart
from .layout import Clip, Section
from .sources import Row, Source
from .svg import element

if TYPE_CHECKING:
    from .clips import Media

NO_MEDIA = "none"
PREFIX = "p_"
"""First characters of the columns of probabilities."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """An utterance whose predicted class is wrong.

    Attributes:
        row: its first row of predictions.csv.
        predicted: the class with the largest mean probability over seeds.
        shares: mean probability over seeds by class, (c,).
        classes: names of the classes, c.
    """

    row: Row
    predicted: str
    shares: NDArray[np.float64]
    classes: tuple[str, ...]

    @property
    def confidence(self) -> float:
        """Probability of the predicted class."""
        return float(self.shares.max())


def confident_mistakes(predictions: Sequence[Row], count: int) -> list[Mistake]:
    """The wrong predictions with the largest probability, averaged over seeds, most confident first.

    Args:
        predictions: rows of predictions.csv; without columns of probabilities there are no mistakes.
        count: number of mistakes.
    """
    if not predictions or "label" not in predictions[0]:
        return []
    columns = [name for name in predictions[0] if name.startswith(PREFIX)]
    classes = tuple(name.removeprefix(PREFIX) for name in columns)
    rows: dict[str, list[Row]] = {}
    for row in predictions:
        rows.setdefault(row["id"], []).append(row)
    mistakes = []
    for of_utterance in rows.values():
        shares = np.mean([[float(row[name]) for name in columns] for row in of_utterance], axis=0)
        predicted = classes[int(shares.argmax())]
        if predicted != of_utterance[0]["label"]:
            mistakes.append(Mistake(row=of_utterance[0], predicted=predicted, shares=shares, classes=classes))
    return sorted(mistakes, key=lambda mistake: (-mistake.confidence, mistake.row["id"]))[:count]


def mistakes_section(
    source: Source, settings: Settings, page: Path, *, mode: str, count: int, required: bool
) -> Section | None:
    """The gallery; None for a source without wrong predictions.

    Args:
        source: a run or an evaluation.
        settings: the index with the utterances, and the corpus root.
        page: the page to be written.
        mode: see `read_media`.
        count: number of mistakes.
        required: an index that is missing or another one than the run's is an error, not a note.

    Raises:
        UsageError: the index is required and is not the one of the run.
    """
    mistakes = confident_mistakes(source.predictions, count)
    if not mistakes:
        return None
    media, words = _media(source, settings, page, mistakes, mode=mode, required=required)
    seeds = len({row.get("seed") for row in source.predictions})
    first = "Wrong predictions with the highest probability" + (", averaged over seeds." if seeds > 1 else ".")
    if any(found.image or found.sound.startswith("data:") for found in media.values()):
        words.append("This page contains media of the corpus; they are shared with the page.")
    return Section(
        key="mistakes",
        title="Most confident mistakes",
        text=[first, *words],
        clips=[_clip(mistake, media.get(mistake.row["id"])) for mistake in mistakes],
    )


def _media(
    source: Source, settings: Settings, page: Path, mistakes: Sequence[Mistake], *, mode: str, required: bool
) -> tuple[Mapping[str, "Media"], list[str]]:
    """Media by id of the utterance, and why there are none."""
    index, root = settings.index, settings.corpus.root
    if mode == NO_MEDIA and not required:
        return {}, []
    if not index.is_file() and not required:
        return {}, [f"No media: there is no {index}; name the run's with --features, and the corpus with --root."]
    try:
        with FeatureStore(index) as store:
            if store.digest != source.content["features"]:
                raise UsageError(
                    f"{index}: expected the features of the run ({source.content['features'][:8]}), got others "
                    f"({store.digest[:8]}); name the run's with --features"
                )
            # Decoders and torch are imported only where there is something to decode.
            from .clips import read_media

            ids = [mistake.row["id"] for mistake in mistakes]
            outside = settings.corpus.allow_outside
            found = read_media(store, ids, root=root, page=page, mode=mode, allow_outside=outside)
    except FoalError as error:
        if required:
            raise
        return {}, [f"No media: {error}"]
    missing = mode != NO_MEDIA and not any(media.image or media.sound for media in found.values())
    return found, [f"No media: none of them is in {root}; name the corpus root with --root."] if missing else []


def _clip(mistake: Mistake, media: "Media | None") -> Clip:
    row, shares = mistake.row, zip(mistake.classes, mistake.shares.tolist(), strict=True)
    clip = Clip(
        name=row["id"],
        truth=row["label"],
        predicted=mistake.predicted,
        confidence=percent(mistake.confidence),
        shares=[(name, _bar(share), percent(share)) for name, share in shares],
        details=[row["speaker"], row["fold"]],
    )
    if media is None:
        return clip
    return replace(
        clip,
        details=[*clip.details, *([] if media.seconds is None else [f"{media.seconds:.1f} s"])],
        transcript=media.utterance.transcript or "",
        image=media.image,
        wave=wave_chart(media.wave) if media.wave else None,
        sound=media.sound,
        note=media.note,
    )


def _bar(share: float) -> Markup:
    parts = [
        element("rect", x=0, y=0, width=100, height=8, class_="ground"),
        element("rect", x=0, y=0, width=100 * share, height=8, class_="bar"),
    ]
    box = {"viewBox": "0 0 100 8", "preserveAspectRatio": "none"}
    return element("svg", *parts, class_="share", aria_hidden="true", **box)
