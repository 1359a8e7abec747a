"""Cross-modal retrieval by emotion: does a voice find faces of its emotion, and the other way round?"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from .classification import Numbers

Vectors = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

_BLOCK = 512  # queries at a time, so that memory grows with the gallery only


class Retrieval(NamedTuple):
    """Means over queries, 0 to 1. map: average precision; r1: nearest item relevant; chance: r1 of a random order."""

    map: float
    r1: float
    chance: float


@dataclass(frozen=True)
class Bridge:
    """Brings the means of two unrelated encoders into one space, the standardised face's."""

    audio: Pipeline
    face: StandardScaler

    def __call__(self, audio: Vectors, face: Vectors) -> tuple[Numbers, Numbers]:
        """(n, d_a), (m, d_v) -> (n, d_v), (m, d_v), to be compared by their cosine; either may be the query."""
        return self.audio.predict(_float64(audio)), self.face.transform(_float64(face))


def fit_bridge(audio: Vectors, face: Vectors) -> Bridge:
    """Ridge regression from audio (n, d_a) to face (n, d_v) of the same training utterances; it sees no labels.

    Both are standardised first. The penalty is d_a whatever n is: it is the best one where independent inputs explain
    half of the variance, and leaves nothing singular where there are fewer utterances than dimensions.
    Raises ValueError for no utterance, for different numbers of them, and for values that are not finite.
    """
    scale = StandardScaler().fit(_float64(face))
    regression = make_pipeline(StandardScaler(), Ridge(alpha=audio.shape[1]))
    return Bridge(regression.fit(_float64(audio), scale.transform(_float64(face))), scale)


def retrieval(
    queries: Vectors, gallery: Vectors, query_labels: Labels, gallery_labels: Labels, *, own: bool = True
) -> Retrieval | None:
    """Rank the gallery (g, d) by cosine for each of the queries (q, d); relevant is what has the query's emotion.

    Labels are (q) and (g). A query without any relevant item is left out; None if no query remains. Ties keep the
    gallery's order. With own=False, item i is no part of query i's gallery: for queries and gallery of the same
    utterances in the same order only. Raises ValueError where their labels say that they are not.
    """
    if not own and not np.array_equal(query_labels, gallery_labels):
        raise ValueError("expected the same utterances as queries and gallery, got other labels")
    if len(queries) == 0 or len(gallery) == 0:
        return None
    queries, gallery = normalize(_float64(queries)), normalize(_float64(gallery))
    blocks = []
    for start in range(0, len(queries), _BLOCK):
        rows = slice(start, start + _BLOCK)
        similarity = queries[rows] @ gallery.T
        relevant = query_labels[rows, None] == gallery_labels
        if not own:
            row = np.arange(len(similarity))
            similarity[row, start + row], relevant[row, start + row] = -np.inf, False
        ranked = np.take_along_axis(relevant, np.argsort(-similarity, axis=1, kind="stable"), axis=1)
        blocks.append(_scores(ranked[ranked.any(1)], len(gallery) - (not own)))
    scores = np.concatenate(blocks)
    return Retrieval(*map(float, scores.mean(0))) if len(scores) else None


def _scores(ranked: NDArray[np.bool_], items: int) -> Numbers:
    """Relevance from the nearest item on, (q, g) -> (q, 3): average precision, R@1, share of relevant `items`."""
    hits = ranked.cumsum(1)
    precision = hits / np.arange(1, ranked.shape[1] + 1)
    total = hits[:, -1]
    return np.stack([(precision * ranked).sum(1) / total, ranked[:, 0], total / items], axis=1)


def _float64(values: Vectors) -> Numbers:
    return np.asarray(values, np.float64)
