"""Storage of a dataset's features: all in memory, or on disk and read chunk by chunk within a memory budget."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ...shared.errors import TrainingError
from ...shared.parallel.prefetch import prefetch
from ...shared.parallel.resources import available_cores
from ...shared.store.entry import finite
from ...shared.store.feature_store import FeatureStore
from .sequences import PackedSequences, pool_frames, pooled_lengths

READ_BYTES = 16 << 20
"""Bytes that a thread reads at once, before pooling and checks."""
READERS = 4
"""Reading threads; a single one spends as much time on checksums and page faults as on the copy."""
BLOCKS = 8
"""Contiguous blocks per chunk: enough to mix utterances, large enough to be read sequentially."""
CHUNKS_IN_MEMORY = 3
"""One chunk in use, one waiting, one being read."""


class Chunk(NamedTuple):
    """m utterances whose features are in memory: their rows (m,) in the dataset and positions (m,) in the streams."""

    streams: Mapping[str, PackedSequences]
    rows: Tensor
    positions: Tensor


class Features(Protocol):
    """The sequences of n utterances, in memory or on disk."""

    @property
    def frame_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of one frame, ([layers,] width), by modality, audio before face."""
        ...

    @property
    def lengths(self) -> Tensor:
        """Frames of each utterance summed over modalities, (n,): the cost of a training step."""
        ...

    def iter_chunks(self, rows: Tensor, generator: torch.Generator | None = None) -> Iterator[Chunk]:
        """Yield all of `rows` (m,), which may repeat, in chunks that are in memory.

        Args:
            rows: rows of the dataset, (m,).
            generator: randomizes the order of reading (None: order of the disk); unused for features in memory.
        """
        ...

    def select(self, modalities: Sequence[str], longest: Mapping[str, int] | None = None) -> "Features":
        """Keep these modalities only, cut to at most `longest` frames each; memory is shared."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Features in memory: one packed tensor per modality."""

    streams: Mapping[str, PackedSequences]

    @property
    def frame_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of one frame, ([layers,] width), by modality."""
        return {name: stream.frame_shape for name, stream in self.streams.items()}

    @cached_property
    def lengths(self) -> Tensor:
        """Frames of each utterance summed over modalities, (n,)."""
        return torch.stack([stream.lengths for stream in self.streams.values()]).sum(0)

    def iter_chunks(self, rows: Tensor, generator: torch.Generator | None = None) -> Iterator[Chunk]:
        """Yield everything as one chunk, in the given order; the sampler has shuffled the rows already."""
        yield Chunk(self.streams, rows, rows)

    def select(self, modalities: Sequence[str], longest: Mapping[str, int] | None = None) -> "InMemory":
        """Keep these modalities only, cut to at most `longest` frames each."""
        return InMemory({name: _truncated(self.streams[name], (longest or {}).get(name)) for name in modalities})

    def to(self, device: torch.device) -> "InMemory":
        """Copy to the device if 80% of its free memory suffice, else to pinned memory."""
        if device.type != "cuda":
            return self
        free, _ = torch.cuda.mem_get_info(device)
        fits = sum(stream.nbytes for stream in self.streams.values()) < 0.8 * free
        move = partial(PackedSequences.to_device, device=device) if fits else PackedSequences.pinned
        return InMemory({name: move(stream) for name, stream in self.streams.items()})


@dataclass(frozen=True, kw_only=True)
class StreamSource:
    """The source of a modality: stream name in the store, its frame rate, and the maximum frame rate wanted (Hz)."""

    name: str
    rate_hz: float
    frame_rate: float | None

    @property
    def to_hz(self) -> float:
        """Frame rate after pooling."""
        return min(self.rate_hz, self.frame_rate or self.rate_hz)


class OnDisk:
    """Features on disk: read in every pass, in random blocks, at most `budget` bytes at a time.

    Rows are shuffled within a chunk. Only one pass at a time is possible, since the store is one open file.
    """

    def __init__(
        self,
        store: FeatureStore,
        rows: Sequence[int],
        sources: Mapping[str, StreamSource],
        *,
        budget: int,
        longest: Mapping[str, int] | None = None,
    ) -> None:
        """Open utterances `rows` of a store.

        Args:
            store: an open store; stays open while this object is used.
            rows: rows of the store.
            sources: stream by modality.
            budget: bytes of features in memory at a time.
            longest: maximum frames by modality.
        """
        self._store = store
        self._rows = rows
        self._sources = sources
        self._budget = budget
        self._longest = longest or {}
        infos = {modality: store.streams[source.name] for modality, source in sources.items()}
        self.frame_shapes = {modality: info.frame_shape for modality, info in infos.items()}
        self.lengths = torch.zeros(len(rows), dtype=torch.int64)
        self._bytes = torch.zeros(len(rows), dtype=torch.int64)
        for modality, source in sources.items():
            frames = _pooled_lengths(store, rows, source)
            per_frame = math.prod(infos[modality].frame_shape) * np.dtype(infos[modality].dtype).itemsize
            self._bytes += frames * (per_frame + 1)
            self.lengths += frames.clamp(max=self._longest.get(modality, 2**62))
        shard, offset = store.extents(next(iter(sources.values())).name)
        wanted = np.asarray(rows, np.int64)
        self._on_disk = torch.from_numpy(np.lexsort((offset[wanted], shard[wanted])))

    def iter_chunks(self, rows: Tensor, generator: torch.Generator | None = None) -> Iterator[Chunk]:
        """Yield chunks, reading the next one while one is in use; without `generator` in the order of the disk."""
        wanted = torch.zeros(len(self._rows), dtype=torch.bool).index_fill_(0, rows, True)
        plan = self._plan_chunks(self._on_disk[wanted[self._on_disk]], generator)
        shuffled = rows if generator is None else rows[torch.randperm(len(rows), generator=generator)]
        jobs = [partial(self._read_chunk, chunk_rows, shuffled) for chunk_rows in plan]
        with prefetch(jobs, threads=1, size=lambda chunk: 1, budget=1) as queues:
            for queue in queues:
                yield from queue

    def select(self, modalities: Sequence[str], longest: Mapping[str, int] | None = None) -> "OnDisk":
        """Keep these modalities only, cut to at most `longest` frames each."""
        sources = {name: self._sources[name] for name in modalities}
        shortest = dict(self._longest)
        for name, frames in (longest or {}).items():
            shortest[name] = min(frames, shortest.get(name, frames))
        return OnDisk(self._store, self._rows, sources, budget=self._budget, longest=shortest)

    def _plan_chunks(self, ordered: Tensor, generator: torch.Generator | None) -> list[Tensor]:
        """Cut rows, in the order of the disk, into blocks, and combine blocks into chunks of the budget."""
        size = self._budget / CHUNKS_IN_MEMORY
        block = (self._bytes[ordered].cumsum(0).double() / (size / BLOCKS)).long()
        blocks = list(torch.split(ordered, torch.unique_consecutive(block, return_counts=True)[1].tolist()))
        if generator is not None:
            blocks = [blocks[i] for i in torch.randperm(len(blocks), generator=generator)]
        chunks: list[list[Tensor]] = [[]]
        filled = 0.0
        for rows in blocks:
            cost = float(self._bytes[rows].sum())
            if chunks[-1] and filled + cost > size:
                chunks.append([])
                filled = 0.0
            chunks[-1].append(rows)
            filled += cost
        return [torch.cat(rows) for rows in chunks if rows]

    def _read_chunk(self, chunk_rows: Tensor, rows: Tensor) -> Iterator[Chunk]:
        """Read the utterances of a chunk, and select those of `rows` that are in it."""
        position = torch.full((len(self._rows),), -1).index_put_((chunk_rows,), torch.arange(len(chunk_rows)))
        streams = read_streams(self._store, [self._rows[row] for row in chunk_rows.tolist()], self._sources)
        selected = rows[position[rows] >= 0]
        truncated = {name: _truncated(stream, self._longest.get(name)) for name, stream in streams.items()}
        yield Chunk(truncated, selected, position[selected])


@torch.inference_mode(False)  # what is read in an evaluation is written in threads, and kept
def read_streams(
    store: FeatureStore, rows: Sequence[int], sources: Mapping[str, StreamSource]
) -> dict[str, PackedSequences]:
    """Read the sequences of utterances `rows` of the store, in that order, pooled to the wanted frame rates.

    Args:
        store: an open store.
        rows: rows of the store.
        sources: stream by modality.

    Returns:
        Packed sequences by modality. Little more memory than theirs is used.

    Raises:
        TrainingError: a valid frame is NaN or infinite (names the utterance), or the memory does not suffice.
        StoreError: the features cannot be read.
    """
    return {modality: _read(store, rows, source) for modality, source in sources.items()}


def _read(store: FeatureStore, rows: Sequence[int], source: StreamSource) -> PackedSequences:
    info = store.streams[source.name]
    # The index is untrusted input: check the files before allocating the memory it asks for.
    store.check_files(source.name, rows)
    lengths = _pooled_lengths(store, rows, source)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    shape = (int(offsets[-1]), *info.frame_shape)
    try:
        values = torch.from_numpy(np.empty(shape, info.dtype))
    except MemoryError:
        size = math.prod(shape) * np.dtype(info.dtype).itemsize
        raise TrainingError(
            f"{store.path}: not enough memory for the {source.name} features ({size / 1e9:,.1f} GB); read them from "
            "disk with --on-disk, or use shorter or fewer utterances"
        ) from None
    valid = torch.zeros(len(values), dtype=torch.bool)

    def read(batch: tuple[int, int]) -> None:
        first, last = batch
        into = slice(int(offsets[first]), int(offsets[last]))
        if source.to_hz == source.rate_hz:
            store.packed(source.name, rows[first:last], out=(values[into].numpy(), valid[into].numpy()))
        else:
            packed = store.packed(source.name, rows[first:last])
            stream = PackedSequences.of(*map(torch.from_numpy, (packed.values, packed.valid, packed.offsets)))
            pooled = pool_frames(stream, rate_hz=source.rate_hz, to_hz=source.to_hz)
            values[into], valid[into] = pooled.values[: into.stop - into.start], pooled.valid[: into.stop - into.start]
        if (frame := _first_non_finite_frame(values[into], valid[into])) is not None:
            row = rows[int(torch.searchsorted(offsets, into.start + frame, right=True)) - 1]
            raise TrainingError(
                f"{store.path}: utterance {store.utterances[row].id!r} has NaN or infinite values in its "
                f"{source.name} features; extract it again, or remove it from the manifest"
            )

    with ThreadPoolExecutor(min(READERS, available_cores())) as pool:
        for _ in pool.map(read, _read_batches(store, rows, source.name)):
            pass
    return PackedSequences.of(values, valid, offsets)


def _first_non_finite_frame(values: Tensor, valid: Tensor) -> int | None:
    """The first valid frame with a NaN or infinite value."""
    if finite(values.numpy()):
        return None
    # A sum with a NaN or infinite term is not finite, and is much faster than checking each value. In float16 the sum
    # may also overflow; then each value is checked.
    suspicious = (~values.flatten(1).sum(1).isfinite() & valid).nonzero().squeeze(1)
    not_finite = suspicious[~values[suspicious].flatten(1).isfinite().all(1)]
    return int(not_finite[0]) if len(not_finite) else None


def _read_batches(store: FeatureStore, rows: Sequence[int], name: str) -> Iterator[tuple[int, int]]:
    """Ranges of `rows` of about READ_BYTES each, at least one utterance."""
    info = store.streams[name]
    per_frame = math.prod(info.frame_shape) * np.dtype(info.dtype).itemsize
    read = np.cumsum(store.lengths(name)[np.asarray(rows, np.int64)]) * per_frame // READ_BYTES
    ends = [*(np.flatnonzero(np.diff(read)) + 1).tolist(), len(rows)]
    yield from zip([0, *ends[:-1]], ends, strict=True)


def _pooled_lengths(store: FeatureStore, rows: Sequence[int], source: StreamSource) -> Tensor:
    stored = torch.from_numpy(store.lengths(source.name)[np.asarray(rows, np.int64)])
    return pooled_lengths(stored, rate_hz=source.rate_hz, to_hz=source.to_hz)


def _truncated(stream: PackedSequences, longest: int | None) -> PackedSequences:
    return stream if longest is None else replace(stream, lengths=stream.lengths.clamp(max=longest))
