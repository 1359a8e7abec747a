"""The content of a shard: the features of each utterance, and how they were made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

Values = NDArray[np.float16] | NDArray[np.float32]

_BLOCK_SIZE = 1 << 18
"""Numbers that are checked at once, in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class ShardHeader:
    """How the features of a shard were made.

    `config_hash` hashes every setting that changes the numbers; `rate_hz` is frames per second, 0 for text,
    whose tokens have no times; `config` is the full configuration behind the hash; `weights` is the hash of the
    encoder's weights.
    """

    modality: str
    config_hash: str
    rate_hz: float
    encoder: str
    revision: str
    weights: str
    random_weights: bool
    config: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One utterance's features, and where they come from.

    Attributes:
        id: the utterance.
        values: (t, [layers,] width).
        valid: (t,), False for frames without data, such as frames without a face.
        origin: time of the first frame, in seconds of the media; 0 for text.
        source: the segment of the file, see `Utterance.source`.
        media: the fingerprint of the file; empty for features that belong to no file, as text.
        content: the content hash of the file beside a fingerprint of size and time; empty: none. Not part of the
            checksum.
        note: why the modality is missing; empty if it is present.
        boxes: (t, 4), the face as x0, y0, x1, y1 in fractions of the person's region, NaN without a face; None for
            features without boxes. Not part of the checksum.
        quality: quality measures by name. Not part of the checksum.
    """

    id: str
    values: Values
    valid: NDArray[np.bool_]
    origin: float
    source: str
    media: str
    content: str = ""
    note: str = ""
    boxes: NDArray[np.float32] | None = None
    quality: Mapping[str, float] = field(default_factory=dict)

    def checksum(self) -> str:
        """Hash of everything that training reads."""
        return feature_checksum(self.values, self.valid, self.origin)


def feature_checksum(values: Values, valid: NDArray[np.bool_], origin: float) -> str:
    """Hash of one utterance's features in hexadecimal; it detects damage, not forgery, and is faster than any disk."""
    digest = xxhash.xxh3_128(np.ascontiguousarray(values).data)
    digest.update(np.ascontiguousarray(valid).data)
    digest.update(repr(float(origin)).encode())
    return str(digest.hexdigest())


def finite(values: Values) -> bool:
    """Whether all numbers are finite."""
    if values.dtype != np.float16:
        return bool(np.isfinite(values).all())
    # NaN and infinity have an exponent of ones. Read as integers, they are the largest of the positive numbers, and of
    # all numbers if these are read without a sign. This is ten times as fast as np.isfinite on float16.
    bits = np.ascontiguousarray(values).reshape(-1)
    blocks = (bits[at : at + _BLOCK_SIZE] for at in range(0, len(bits), _BLOCK_SIZE))
    return all(part.view(np.int16).max() < 0x7C00 and part.view(np.uint16).max() < 0xFC00 for part in blocks)
