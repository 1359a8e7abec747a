"""Precomputed features of one modality in any format: checked, counted, and their frame rate estimated."""

import logging
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from ...shared.errors import StoreError, UsageError
from ...shared.text import counted, preview_ids
from ...shared.utterance import TEXT, Utterance
from .imported_frames import ABSENT_ZEROS, FrameRules, Frames, read_frames

RATE_TOLERANCE = 0.02
"""An estimated rate this close to a round number is rounded to it: encoders drop a frame or two at the ends."""

log = logging.getLogger(__name__)


class ArrayReader(Protocol):
    """The arrays of one modality by utterance id, in the order of the manifest."""

    @property
    def place(self) -> str:
        """The file or folder, for messages."""

    @property
    def name(self) -> str:
        """Its name without folders, for the notes in shards."""

    @property
    def ids(self) -> Collection[str]:
        """The utterances of the manifest that have an array, which may be empty."""

    def where(self, utterance_id: str) -> str:
        """The place of one array, for messages."""

    def read(self, utterance_id: str) -> NDArray[Any]:
        """The array, (width,) or (t, width). Raises StoreError if it cannot be read."""


@dataclass(frozen=True, kw_only=True)
class FeatureSource:
    """The features of one modality, checked.

    Attributes:
        modality: audio, face or text.
        reader: the arrays.
        rules: what frames of zeros and of NaN mean.
        dtype: the number format that the values fit into.
        width: numbers per frame.
        frames: frames of each utterance that has some.
        empty: utterances with an empty array.
    """

    modality: str
    reader: ArrayReader
    rules: FrameRules
    dtype: str
    width: int
    frames: Mapping[str, int]
    empty: Collection[str]

    def read(self, utterance_id: str) -> Frames:
        """The frames of an utterance in `frames`."""
        where = self.reader.where(utterance_id)
        return read_frames(self.reader.read(utterance_id), self.modality, self.rules, self.dtype, where)


@dataclass
class _Tally:
    """Frames of one kind, and the utterances that have some."""

    frames: int = 0
    utterances: list[str] = field(default_factory=list)

    def add(self, utterance_id: str, frames: int) -> None:
        if frames:
            self.frames += frames
            self.utterances.append(utterance_id)


def ids_in_manifest(
    found: Collection[str], manifest: Sequence[Utterance], modality: str, place: Path, *, hint: str = ""
) -> list[str]:
    """The ids of the manifest, in its order, that are among the found ones; the others are reported.

    Raises UsageError if there is none; `hint` ends the message.
    """
    ids = [utterance.id for utterance in manifest if utterance.id in found]
    if not ids:
        raise UsageError(
            f"{place}: expected ids of the manifest, such as {', '.join(u.id for u in manifest[:3])}; got "
            f"{', '.join(list(found)[:3]) or 'none'}{hint}"
        )
    known = set(ids)
    if others := [utterance_id for utterance_id in found if utterance_id not in known]:
        log.info(f"{modality}: not in the manifest, but in {place}: {preview_ids(others)}")
    return ids


def check_source(modality: str, reader: ArrayReader, rules: FrameRules, dtype: str) -> FeatureSource:
    """Check every array, and report empty ones and frames without data.

    Raises:
        StoreError: an array cannot be features, the arrays differ in width, or none has a valid frame.
    """
    shapes: dict[str, tuple[int, int]] = {}
    empty: list[str] = []
    zero, nan, blank = _Tally(), _Tally(), _Tally()
    valid = 0
    for utterance_id in reader.ids:
        found = read_frames(reader.read(utterance_id), modality, rules, dtype, reader.where(utterance_id))
        if not len(found.values):
            empty.append(utterance_id)
            continue
        shapes[utterance_id] = found.values.shape[0], found.values.shape[1]
        zero.add(utterance_id, found.zero)
        nan.add(utterance_id, found.nan)
        blank.add(utterance_id, 0 if found.valid.any() else len(found.valid))
        valid += int(found.valid.sum())
    if not shapes:
        raise StoreError(f"{reader.place}: all {len(empty)} arrays are empty; there is nothing to import")
    _check_widths(shapes, reader)
    if not valid:
        remedy = "; if the zeros are data, keep them with --zeros valid" if zero.frames else ""
        raise StoreError(
            f"{reader.place}: no frame has data: {zero.frames} of zeros, {nan.frames} with NaN or infinite numbers"
            f"{remedy}"
        )
    if empty:
        log.info(f"{modality}: empty arrays, taken as a missing modality: {preview_ids(empty)}")
    total = sum(frames for frames, _ in shapes.values())
    _report_zeros(modality, rules, zero, blank, total)
    if nan.frames:
        log.info(
            f"{modality}: {nan.frames:,} of {counted(total, 'frame')} have NaN or infinite numbers and were marked "
            f"invalid: {preview_ids(nan.utterances)}"
        )
    return FeatureSource(
        modality=modality,
        reader=reader,
        rules=rules,
        dtype=dtype,
        width=next(iter(shapes.values()))[1],
        frames={utterance_id: frames for utterance_id, (frames, _) in shapes.items()},
        empty=frozenset(empty),
    )


def _check_widths(shapes: Mapping[str, tuple[int, int]], reader: ArrayReader) -> None:
    """Raise StoreError unless all arrays have one width."""
    widths = Counter(width for _, width in shapes.values())
    lengths = {frames for frames, _ in shapes.values()}
    # One wrong file among many has another cause, and single vectors cannot be transposed.
    if len(lengths) == 1 and lengths != {1} and max(widths.values()) <= len(shapes) / 2:
        raise StoreError(
            f"{reader.place}: the arrays look transposed: all of them have {lengths.pop()} rows, and {min(widths)} to "
            f"{max(widths)} columns; expected (frames, width), so save each one as array.T"
        )
    first, width = next((utterance_id, width) for utterance_id, (_, width) in shapes.items())
    for utterance_id, (_, other) in shapes.items():
        if other != width:
            raise StoreError(
                f"{reader.where(utterance_id)}: expected {width} numbers per frame as in {reader.where(first)}, got "
                f"{other}; the arrays of one modality are (width,) or (frames, width), all of one width"
            )


def _report_zeros(modality: str, rules: FrameRules, zero: _Tally, blank: _Tally, total: int) -> None:
    """Say how many frames are zeros, and what they were taken for."""
    if not zero.frames:
        return
    found = f"{modality}: {zero.frames:,} of {counted(total, 'frame')} are zeros"
    ids = preview_ids(zero.utterances)
    if rules.zeros == "valid":
        log.info(f"{found} and were kept as valid: {ids}")
    elif rules.zeros == "invalid" or modality in ABSENT_ZEROS:
        meaning = ABSENT_ZEROS.get(modality, "")
        log.info(f"{found}{meaning} and were marked invalid; --zeros valid keeps them: {ids}")
    else:
        whole = f", except those of utterances without others: {preview_ids(blank.utterances)}" * bool(blank.utterances)
        log.info(f"{found} and were kept as silence{whole}; --zeros invalid marks them all invalid: {ids}")


def estimate_rate(source: FeatureSource, manifest: Iterable[Utterance], manifest_path: Path) -> float:
    """Estimate the frames per second (Hz): the median over utterances with a known length; 1 for single vectors.

    Text has none: the result is 0. Raises UsageError if the manifest has the length of no utterance; `manifest_path`
    names it in the message.
    """
    if source.modality == TEXT:
        return 0.0
    if max(source.frames.values()) == 1:
        return 1.0
    rates = [
        source.frames[utterance.id] / utterance.seconds
        for utterance in manifest
        if utterance.id in source.frames and utterance.seconds is not None
    ]
    if not rates:
        raise UsageError(
            f"{source.reader.place}: the arrays are sequences, but {manifest_path} has no end times for their "
            f"utterances; give the frames per second with --{source.modality}-rate HZ"
        )
    median = statistics.median(rates)
    # wav2vec2's 50 Hz look like 49.3 in short utterances: multiples of five come before other whole numbers.
    candidates = [float(step * round(median / step)) for step in (5, 1)]
    close = [number for number in candidates if abs(median - number) <= RATE_TOLERANCE * number]
    # Else four digits: the rate is part of the config hash, which one utterance more should not change.
    rate_hz = close[0] if close else float(f"{median:.4g}")
    log.info(
        f"{source.modality}: {rate_hz:g} frames per second, estimated from {len(rates)} utterances "
        f"({min(rates):.4g} to {max(rates):.4g}); --{source.modality}-rate overrides it"
    )
    return rate_hz
