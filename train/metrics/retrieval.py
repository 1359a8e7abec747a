"""Cross-modal retrieval by emotion: rank faces for a voice, and voices for a face."""

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

MAX_QUERIES = 5000
"""Queries of a group that are ranked; of more, a sample, so that the cost is linear in the gallery."""
SAMPLE_SEED = 0
_BLOCK_SIZE = 1 << 21
"""Similarities that are ranked at a time."""


class Retrieval(NamedTuple):
    """Means over queries, 0 to 1.

    Attributes:
        map: mean average precision.
        r1: share of queries whose nearest item is relevant (R@1).
        chance: R@1 of a random order.
        queries: number of queries with a relevant item, over which the means are taken.
        available: queries of which these are a sample; `queries` if all were ranked.
    """

    map: float
    r1: float
    chance: float
    queries: int
    available: int


@dataclass(frozen=True)
class CrossModalRegression:
    """Maps the mean features of two unrelated encoders into one space, that of the standardised face features."""

    audio: Pipeline
    face: StandardScaler

    def __call__(self, audio: Vectors, face: Vectors) -> tuple[Numbers, Numbers]:
        """Map audio (n, d_a) to (n, d_v) and face (m, d_v) to (m, d_v), to be compared by cosine similarity."""
        return self.audio.predict(_float64(audio)), self.face.transform(_float64(face))


def fit_cross_modal_regression(audio: Vectors, face: Vectors) -> CrossModalRegression:
    """Fit a ridge regression from audio to face features of the same utterances, without labels.

    Both are standardised first. The penalty is d_a for every n: it is optimal where independent inputs explain half of
    the variance, and the problem stays regular if there are fewer utterances than dimensions.

    Args:
        audio: mean audio features of the training utterances, (n, d_a).
        face: mean face features of the same utterances, (n, d_v).

    Raises:
        ValueError: no utterances, different numbers of them, or values that are not finite.
    """
    scale = StandardScaler().fit(_float64(face))
    regression = make_pipeline(StandardScaler(), Ridge(alpha=audio.shape[1]))
    return CrossModalRegression(regression.fit(_float64(audio), scale.transform(_float64(face))), scale)


def retrieval(
    queries: Vectors,
    gallery: Vectors,
    query_labels: Labels,
    gallery_labels: Labels,
    *,
    include_self: bool = True,
    limit: int = MAX_QUERIES,
) -> Retrieval | None:
    """Rank the gallery by cosine similarity for each query; items with the query's emotion are relevant.

    Ties keep the order of the gallery. Of more than `limit` queries, a random sample is ranked, the same in every call.

    Args:
        queries: (q, d).
        gallery: (g, d).
        query_labels: (q,).
        gallery_labels: (g,).
        include_self: whether item i belongs to the gallery of query i. False requires that queries and gallery are the
            same utterances in the same order.
        limit: maximum number of queries.

    Returns:
        Means over the queries with a relevant item; None if there are none.

    Raises:
        ValueError: include_self is False and the labels differ.
    """
    if not include_self and not np.array_equal(query_labels, gallery_labels):
        raise ValueError("expected the same utterances as queries and gallery, got other labels")
    if len(queries) == 0 or len(gallery) == 0:
        return None
    queries, gallery = normalize(_float64(queries)), normalize(_float64(gallery))
    rows = np.arange(len(queries))
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(SAMPLE_SEED).choice(rows, limit, replace=False))
    blocks = []
    for block in np.array_split(rows, -(-len(rows) * len(gallery) // _BLOCK_SIZE)):
        similarity = queries[block] @ gallery.T
        relevant = query_labels[block, None] == gallery_labels
        if not include_self:
            row = np.arange(len(block))
            similarity[row, block], relevant[row, block] = -np.inf, False
        ranked = np.take_along_axis(relevant, np.argsort(-similarity, axis=1, kind="stable"), axis=1)
        blocks.append(_scores(ranked[ranked.any(1)], len(gallery) - (not include_self)))
    scores = np.concatenate(blocks)
    if not len(scores):
        return None
    average_precision, first, chance = scores.mean(0).tolist()
    available = round(len(scores) * len(queries) / len(rows))
    return Retrieval(average_precision, first, chance, len(scores), available)


def _scores(ranked: NDArray[np.bool_], items: int) -> Numbers:
    """Average precision, R@1 and share of relevant items, (q, 3), from relevance in ranked order, (q, g)."""
    hits = ranked.cumsum(1)
    precision = hits / np.arange(1, ranked.shape[1] + 1)
    total = hits[:, -1]
    return np.stack([(precision * ranked).sum(1) / total, ranked[:, 0], total / items], axis=1)


def _float64(values: Vectors) -> Numbers:
    return np.asarray(values, np.float64)
