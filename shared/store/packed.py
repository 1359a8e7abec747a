"""Packed features: those of several utterances concatenated in one array."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .entry import Values


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Concatenated features of several utterances.

    `values` (sum of t, [layers,] width); `offsets` (n + 1,), the first frame of each utterance; `valid` (sum of t,).
    """

    values: Values
    offsets: NDArray[np.int64]
    valid: NDArray[np.bool_]


def contiguous_runs(
    shard: NDArray[np.int64], start: NDArray[np.int64], length: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Group requested utterances into runs that are neighbours both in their shard and in the request.

    Args:
        shard: (n,) the shard of each utterance, in the order of the request.
        start: (n,) its first frame there.
        length: (n,) its number of frames.

    Returns:
        Positions in the request: one array per run, in the order of the files.
    """
    order = np.lexsort((start, shard))
    follows = (
        (shard[order][1:] == shard[order][:-1])
        & (start[order][1:] == start[order][:-1] + length[order][:-1])
        & (order[1:] == order[:-1] + 1)
    )
    return [run for run in np.split(order, np.flatnonzero(~follows) + 1) if len(run)]
