"""Test predictions of several runs over disjoint utterances: pooled, scored, compared with those of other runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...shared.errors import UsageError
from .classification import Counts, counts_by_speaker, pooled_scores, seed_average_scores
from .significance import paired_comparison


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions for n utterances by s seeds; s = 1 for a run of one seed.

    Attributes:
        source: where they come from, for messages.
        classes: class names, c, in the order of their numbers.
        ids: utterance ids, n.
        speakers: speaker names, unique across corpora, n.
        labels: class numbers, (n,).
        predicted: predicted class numbers, (s, n).
        probabilities: (s, n, c).
    """

    source: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> "Predictions":
        """Predictions of some utterances, in the order of `rows`."""
        index = np.asarray(rows, np.int64)
        return Predictions(
            source=self.source,
            classes=self.classes,
            ids=tuple(self.ids[row] for row in rows),
            speakers=tuple(self.speakers[row] for row in rows),
            labels=self.labels[index],
            predicted=self.predicted[:, index],
            probabilities=self.probabilities[:, index],
        )


def pool_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Join the predictions of runs over disjoint utterances; the first seeds of all runs form the first seed, etc.

    Args:
        parts: predictions of at least one run.

    Raises:
        UsageError: the runs differ in classes or in the number of seeds, or have an utterance in common.
    """
    first = parts[0]
    owners: dict[str, str] = {}
    for part in parts:
        _check_classes(first, part)
        if len(part.predicted) != len(first.predicted):
            raise UsageError(
                f"expected the same number of seeds in all runs, got {len(first.predicted)} in {first.source} and "
                f"{len(part.predicted)} in {part.source}; train them with the same --num-seeds"
            )
        for name in part.ids:
            if name in owners:
                raise UsageError(
                    f"expected runs over disjoint utterances, got {name!r} in {owners[name]} and in {part.source}; "
                    "leave one of them out"
                )
            owners[name] = part.source
    return Predictions(
        source=", ".join(part.source for part in parts),
        classes=first.classes,
        ids=tuple(name for part in parts for name in part.ids),
        speakers=tuple(name for part in parts for name in part.speakers),
        labels=np.concatenate([part.labels for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts], axis=1),
        probabilities=np.concatenate([part.probabilities for part in parts], axis=1),
    )


def prediction_scores(predictions: Predictions, *, resamples: int) -> dict[str, Any]:
    """The scores of metrics.json (see `pooled_scores`), and those of the average of the seeds.

    Args:
        predictions: the predictions of one run, or pooled ones.
        resamples: bootstrap resamples of the intervals.
    """
    p = predictions
    scores = pooled_scores(p.labels, p.predicted, p.speakers, classes=p.classes, resamples=resamples)
    average = seed_average_scores(p.labels, p.probabilities, p.speakers, classes=p.classes, resamples=resamples)
    return {**scores, "seed_average": average}


def compare_predictions(system: Predictions, baseline: Predictions, *, resamples: int) -> dict[str, Any]:
    """Gain in UA of a system over a baseline, with its 95% interval and the p value, paired by speaker.

    Args:
        system: predictions of the system.
        baseline: predictions of the baseline for the same utterances, in any order.
        resamples: bootstrap resamples of the interval.

    Returns:
        `gain`, `gain_ci95` (None for a single speaker) and `p`.

    Raises:
        UsageError: the utterances, their labels or speakers, the classes, or several numbers of seeds differ.
    """
    _check_classes(system, baseline)
    rows = {name: row for row, name in enumerate(baseline.ids)}
    for present, other in ((system, baseline), (baseline, system)):
        if missing := sorted(set(present.ids) - set(other.ids)):
            raise UsageError(
                f"expected the same utterances in {system.source} and in {baseline.source}, got {len(missing)} that "
                f"are only in {present.source}, such as {missing[0]!r}; compare runs on the same test groups"
            )
    aligned = baseline.take([rows[name] for name in system.ids])
    for row, name in enumerate(system.ids):
        if (system.labels[row], system.speakers[row]) != (aligned.labels[row], aligned.speakers[row]):
            raise UsageError(
                f"expected the same label and speaker of {name!r} in {system.source} and in {baseline.source}, got "
                "others; compare runs on the same manifest"
            )
    seeds = len(system.predicted), len(aligned.predicted)
    if seeds[0] != seeds[1] and 1 not in seeds:
        raise UsageError(
            f"expected the same number of seeds to compare, or one, got {seeds[0]} in {system.source} and {seeds[1]} "
            f"in {baseline.source}; train both with the same --num-seeds"
        )
    return paired_comparison(_counts(system), _counts(aligned), resamples=resamples)


def _counts(predictions: Predictions) -> Counts:
    p = predictions
    return counts_by_speaker(p.labels, p.predicted, p.speakers, len(p.classes))


def _check_classes(first: Predictions, other: Predictions) -> None:
    if first.classes != other.classes:
        raise UsageError(
            f"expected the same classes, got {', '.join(first.classes)} in {first.source} and "
            f"{', '.join(other.classes)} in {other.source}; train them with the same corpus.classes"
        )
