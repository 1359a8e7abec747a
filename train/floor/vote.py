"""The script predictor: a turn gets the class that the training turns of the same place in the script vote for."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .positions import UNKNOWN, Positions

Level = Literal["scenario", "role", "time"]
LEVELS: tuple[Level, ...] = ("scenario", "role", "time")
"""What a turn and its training turns share: part of the scene; and role; and, by the weight of the votes, time."""

BANDWIDTHS = (0.3, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.005)
"""Standard deviations of the Gaussian over time, in fractions of the dialog; the first of the best ones is taken."""
DEFAULT_BANDWIDTH = 0.03
"""If the training part has a single group, so that none can be chosen."""

MAX_VOTERS = 2000
"""Votes of one part and role at the level "time"; of more turns, evenly spaced ones vote: cost grows linearly."""
MAX_CHOOSING = 20_000
"""Turns that choose the bandwidth; of more, evenly spaced ones."""
_CHUNK = 1000  # turns that are predicted at once

Rows = NDArray[np.int64]


def vote(
    positions: Positions,
    labels: NDArray[np.int64],
    classes: int,
    *,
    train: Rows,
    test: Rows,
    level: Level,
    bandwidths: Sequence[float] = (DEFAULT_BANDWIDTH,),
) -> NDArray[np.int64]:
    """Predict the classes of some utterances from the labels of the training utterances.

    Each training turn of the same part of the scene (and role) has one vote; at the level "time" votes are weighted by
    exp(-((t - t') / h)^2 / 2) for relative times t and t'. A turn without a vote gets the majority of its scene, else
    that of the training utterances; of equally frequent classes the first.

    Args:
        positions: positions of n utterances.
        labels: class numbers, (n,); only those of `train` are read.
        classes: number of classes.
        train: rows that vote.
        test: rows to predict, (m,).
        level: what the votes share with the turn.
        bandwidths: values of h; they matter at the level "time" only.

    Returns:
        Class numbers, (len(bandwidths), m).
    """
    one_hot = np.eye(classes)
    prior = one_hot[labels[train]].sum(0)
    predicted = np.full((len(bandwidths), len(test)), int(prior.argmax()), np.int64)
    _fill(predicted, positions.scenes[test], positions.scenes[train], one_hot[labels[train]])
    cells = positions.parts if level == "scenario" else _cells(positions)
    if level != "time":
        _fill(predicted, cells[test], cells[train], one_hot[labels[train]])
        return predicted
    voting = _members(cells[train])
    for cell, mine in _members(cells[test]).items():
        if cell not in voting:
            continue
        voters = _thinned(train[voting[cell]], MAX_VOTERS)
        for first in range(0, len(mine), _CHUNK):
            chunk = mine[first : first + _CHUNK]
            squares = _squares(positions.times[test[chunk]], positions.times[voters])
            for row, bandwidth in enumerate(bandwidths):
                weights = np.exp(-squares / (2 * bandwidth**2))
                predicted[row, chunk] = (weights @ one_hot[labels[voters]]).argmax(1)
    return predicted


def choose_bandwidth(
    positions: Positions, labels: NDArray[np.int64], classes: int, *, train: Rows, groups: NDArray[np.int64]
) -> float:
    """Choose the bandwidth by cross-validation within the training utterances: the one with the best accuracy.

    Args:
        positions: positions of n utterances.
        labels: class numbers, (n,); only those of `train` are read.
        classes: number of classes.
        train: the training rows.
        groups: group of each utterance, (n,); each group of the training rows is predicted from the others.
    """
    names = np.unique(groups[train])
    if len(names) < 2:
        return DEFAULT_BANDWIDTH
    correct = np.zeros(len(BANDWIDTHS), np.int64)
    for name in names:
        test, rest = _thinned(train[groups[train] == name], MAX_CHOOSING // len(names)), train[groups[train] != name]
        found = vote(positions, labels, classes, train=rest, test=test, level="time", bandwidths=BANDWIDTHS)
        correct += (found == labels[test]).sum(1)
    return BANDWIDTHS[int(correct.argmax())]


def _squares(times: NDArray[np.float64], voters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared differences of times, less that of each turn's nearest voter, so that its weight is 1: (m, voters).

    A turn without a time, or one whose voters have none, counts all voters alike.
    """
    squares = np.square(times[:, None] - voters)
    squares = np.where(np.isfinite(squares), squares, np.inf)
    nearest = squares.min(1, keepdims=True)
    known = np.isfinite(nearest)
    return np.where(known, squares - np.where(known, nearest, 0.0), 0.0)


def _thinned(rows: Rows, number: int) -> Rows:
    """At most `number` evenly spaced ones of the rows."""
    return rows if len(rows) <= number else rows[np.linspace(0, len(rows) - 1, number).astype(np.int64)]


def _cells(positions: Positions) -> NDArray[np.int64]:
    """Number of the part and role of each utterance, (n,)."""
    cells = positions.parts * (int(positions.roles.max(initial=0)) + 1) + positions.roles
    return np.where((positions.parts == UNKNOWN) | (positions.roles == UNKNOWN), UNKNOWN, cells)


def _fill(predicted: NDArray[np.int64], test: Rows, train: Rows, votes: NDArray[np.float64]) -> None:
    """Set the majority of the training rows of the same number, where there are any; votes (len(train), classes)."""
    totals = np.zeros((max(test.max(initial=0), train.max(initial=0)) + 1, votes.shape[1]))
    known = train != UNKNOWN
    np.add.at(totals, train[known], votes[known])
    filled = (test != UNKNOWN) & (totals[test].sum(1) > 0)
    predicted[:, filled] = totals[test[filled]].argmax(1)


def _members(cells: NDArray[np.int64]) -> dict[int, Rows]:
    """The positions of each number in an array, without UNKNOWN."""
    order = np.argsort(cells, kind="stable")
    numbers, first = np.unique(cells[order], return_index=True)
    parts = zip(numbers.tolist(), np.split(order, first[1:]), strict=True)
    return {number: part for number, part in parts if number != UNKNOWN}
