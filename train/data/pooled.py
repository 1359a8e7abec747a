"""One vector per utterance: mean and standard deviation of its frames.

For the baselines and for retrieval, which pool a dataset; and for heads over dialogs, whose datasets contain vectors
instead of frames.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...shared.store.feature_store import FeatureStore
from .features import Chunk, InMemory, StreamSource, read_streams
from .normalization import frame_statistics
from .sequences import PackedSequences, frame_index

if TYPE_CHECKING:
    from .dataset import Dataset

Part = Literal["mean", "std"]
ROWS_AT_ONCE = 256
VECTOR_PARTS: tuple[Part, ...] = ("mean", "std")
"""Parts of the vectors that heads over dialogs read."""


@dataclass(frozen=True, kw_only=True)
class UtteranceVectors:
    """The features of n utterances as one vector each: sequences of one frame, invalid where a modality is missing.

    Attributes:
        read: reads the vectors of all utterances; called once, when the first batch needs them. A process that opens a
            dataset for its index only reads no features.
        frame_shapes: shape of a vector, (parts * width,), by input.
        count: number of utterances, n.
    """

    read: Callable[[], Mapping[str, PackedSequences]]
    frame_shapes: Mapping[str, tuple[int, ...]]
    count: int

    @cached_property
    def streams(self) -> Mapping[str, PackedSequences]:
        """The vectors by input, in memory."""
        return self.read()

    @property
    def lengths(self) -> Tensor:
        """Vectors of each utterance summed over inputs, (n,)."""
        return torch.full((self.count,), len(self.frame_shapes))

    def iter_chunks(self, rows: Tensor, generator: torch.Generator | None = None) -> Iterator[Chunk]:
        """Yield everything as one chunk, in the given order."""
        yield Chunk(self.streams, rows, rows)

    def select(self, modalities: Sequence[str], longest: Mapping[str, int] | None = None) -> "UtteranceVectors":
        """Keep these inputs only; the frames were cut to their maximum length before they were pooled."""
        if list(modalities) == list(self.frame_shapes):
            return self
        return replace(
            self,
            read=lambda: {name: self.streams[name] for name in modalities},
            frame_shapes={name: self.frame_shapes[name] for name in modalities},
        )


def utterance_vectors(
    store: FeatureStore, rows: Sequence[int], sources: Mapping[str, StreamSource], longest: Mapping[str, int]
) -> UtteranceVectors:
    """The vectors of utterances `rows` of a store, which stays open until they are read.

    Args:
        store: an open store.
        rows: rows of the store.
        sources: stream by input.
        longest: maximum frames by input.
    """
    return UtteranceVectors(
        read=lambda: read_vectors(store, rows, sources, longest),
        frame_shapes={
            name: (len(VECTOR_PARTS) * store.streams[source.name].frame_shape[-1],) for name, source in sources.items()
        },
        count=len(rows),
    )


@torch.inference_mode(False)  # the vectors that an evaluation reads are kept
def read_vectors(
    store: FeatureStore, rows: Sequence[int], sources: Mapping[str, StreamSource], longest: Mapping[str, int]
) -> dict[str, PackedSequences]:
    """Read utterances in blocks, and pool each one's valid frames: see `utterance_vectors` and `read_streams`."""
    parts: dict[str, list[Tensor]] = {name: [] for name in sources}
    for first in range(0, len(rows), ROWS_AT_ONCE):
        block = rows[first : first + ROWS_AT_ONCE]
        frames = InMemory(read_streams(store, block, sources)).select(list(sources), longest)
        for name, stream in frames.streams.items():
            parts[name].append(_pooled(stream, torch.arange(len(block)), VECTOR_PARTS))
    offsets = torch.arange(len(rows) + 1)
    streams = {}
    for name, vectors in parts.items():
        values = torch.cat(vectors)
        valid = ~values.isnan().any(1)
        streams[name] = PackedSequences.of(values.nan_to_num(0.0), valid, offsets)
    return streams


def pooled_features(data: "Dataset", parts: Sequence[Part] = ("mean",)) -> dict[str, NDArray[np.float32]]:
    """Pool the valid frames (and average the layers, if several are stored) of every utterance.

    Args:
        data: the dataset, n utterances.
        parts: mean, standard deviation, or both.

    Returns:
        By modality a table (n, parts * width); NaN for an utterance without valid frames.
    """
    tables = {
        name: torch.full((len(data), len(parts) * shape[-1]), torch.nan)
        for name, shape in data.features.frame_shapes.items()
    }
    for chunk in data.features.iter_chunks(torch.arange(len(data))):
        for name, stream in chunk.streams.items():
            blocks = zip(torch.split(chunk.rows, ROWS_AT_ONCE), torch.split(chunk.positions, ROWS_AT_ONCE), strict=True)
            for rows, positions in blocks:
                tables[name][rows] = _pooled(stream, positions, parts)
    return {name: table.numpy() for name, table in tables.items()}


def standardized_features(
    data: "Dataset", train_rows: Tensor, parts: Sequence[Part] = ("mean",)
) -> dict[str, NDArray[np.float32]]:
    """Pooled features (n, parts * width) by modality, after the normalization that the dataset asks for.

    With speaker statistics, each speaker's frames are standardized with these, shrunk towards the statistics of the
    training group `train_rows`. Without, the pooled features are returned as they are: the baselines standardize them
    with the training group anyway.
    """
    tables = pooled_features(data, parts)
    if data.speaker_statistics is None:
        return tables
    for name, (fold_mean, fold_deviation) in frame_statistics(data.features, train_rows).items():
        speaker = data.speaker_statistics.of(name, torch.arange(len(data)), torch.device("cpu"))
        mean, deviation = speaker.shrunk(fold_mean, fold_deviation)
        if mean.dim() == 3:  # layers, whose values are averaged in the table
            mean, deviation = mean.mean(1), deviation.mean(1)
        centre = torch.cat([mean if part == "mean" else torch.zeros_like(mean) for part in parts], 1)
        scale = torch.cat([deviation for _ in parts], 1)
        tables[name] = (tables[name] - centre.numpy()) / scale.numpy()
    return tables


def _pooled(stream: PackedSequences, positions: Tensor, parts: Sequence[Part]) -> Tensor:
    index = frame_index(stream, positions)
    owner = torch.repeat_interleave(torch.arange(len(positions)), stream.lengths[positions])
    device_index = index.to(stream.values.device)
    valid = stream.valid[device_index].cpu()
    values = stream.values[device_index].float().cpu()
    values = (values.mean(1) if values.dim() == 3 else values)[valid]
    owner = owner[valid]
    counts = torch.bincount(owner, minlength=len(positions))[:, None]
    mean = _sums(values, owner, len(positions)) / counts
    pooled = {"mean": mean}
    if "std" in parts:
        pooled["std"] = (_sums((values - mean[owner]).square(), owner, len(positions)) / counts).sqrt()
    # Without valid frames the division above gives NaN.
    return torch.cat([pooled[part] for part in parts], 1)


def _sums(values: Tensor, owner: Tensor, n: int) -> Tensor:
    return torch.zeros(n, values.shape[-1]).index_add_(0, owner, values)
