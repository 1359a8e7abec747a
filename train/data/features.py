"""Where the features of a dataset are: all in memory, or on disk and in memory a part at a time."""

import ctypes
import math
import sys
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
from ...shared.store.feature_store import FeatureStore
from .sequences import PackedSequences, averaged, pooled_lengths

READ_BYTES = 16 << 20
"""What a thread reads at once, before it is averaged and checked."""
READERS = 4
"""Threads that read; a single one spends as long on checksums and page faults as on the copy."""
BLOCKS = 8
"""Blocks of neighbours on the disk of which a part is made up: enough to mix, large enough to read in one go."""
PARTS_AT_ONCE = 3
"""In use, waiting, being read."""


class Visit(NamedTuple):
    """Utterances whose features are in memory: their rows (m,) in the dataset, and positions (m,) in the streams."""

    streams: Mapping[str, PackedSequences]
    rows: Tensor
    positions: Tensor


class Features(Protocol):
    """The sequences of n utterances, wherever they are."""

    @property
    def frame_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """([layers,] width) per modality, audio before face."""
        ...

    @property
    def lengths(self) -> Tensor:
        """What a step on each utterance costs: its frames over all modalities, (n,)."""
        ...

    def visits(self, rows: Tensor, chance: torch.Generator | None = None) -> Iterator[Visit]:
        """All of `rows` (m,), which may repeat, in parts that are in memory; the order is random where it need be."""
        ...

    def only(self, modalities: Sequence[str], longest: Mapping[str, int] | None = None) -> "Features":
        """The same with these modalities alone, cut to their `longest` (frames), sharing what is in memory."""
        ...


@dataclass(frozen=True)
class InMemory:
    """One tensor per modality."""

    streams: Mapping[str, PackedSequences]

    @property
    def frame_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """([layers,] width) per modality."""
        return {name: stream.frame_shape for name, stream in self.streams.items()}

    @cached_property
    def lengths(self) -> Tensor:
        """Frames of each utterance over all modalities, (n,)."""
        return torch.stack([stream.lengths for stream in self.streams.values()]).sum(0)

    def visits(self, rows: Tensor, chance: torch.Generator | None = None) -> Iterator[Visit]:
        """Everything at once, in the order given: whoever drew the rows has shuffled them."""
        yield Visit(self.streams, rows, rows)

    def only(self, modalities: Sequence[str], longest: Mapping[str, int] | None = None) -> "InMemory":
        """The same with these modalities alone, cut to their `longest` (frames)."""
        return InMemory({name: _cut(self.streams[name], (longest or {}).get(name)) for name in modalities})

    def to(self, device: torch.device) -> "InMemory":
        """On the device if there is room (a fifth of what is free stays so); else pinned, to be copied by the batch."""
        if device.type != "cuda":
            return self
        free, _ = torch.cuda.mem_get_info(device)
        fits = sum(stream.nbytes for stream in self.streams.values()) < 0.8 * free
        move = partial(PackedSequences.moved, device=device) if fits else PackedSequences.pinned
        return InMemory({name: move(stream) for name, stream in self.streams.items()})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is read of a modality: its name in the store, the rate there, and the highest rate wanted (Hz)."""

    name: str
    rate_hz: float
    frame_rate: float | None

    @property
    def to_hz(self) -> float:
        """The rate that comes out."""
        return min(self.rate_hz, self.frame_rate or self.rate_hz)


class OnDisk:
    """Read anew for every pass, in random blocks, never more than `budget` bytes of features at a time.

    What is drawn together is shuffled within what is in memory together. One pass at a time: the store is one file.
    """

    def __init__(
        self,
        store: FeatureStore,
        rows: Sequence[int],
        readings: Mapping[str, Reading],
        *,
        budget: int,
        longest: Mapping[str, int] | None = None,
    ) -> None:
        """Of utterances `rows` of an open store, cut to the `longest` (frames) of a modality, if any."""
        self._store, self._rows, self._readings, self._budget = store, rows, readings, budget
        self._longest = longest or {}
        kinds = {modality: store.streams[reading.name] for modality, reading in readings.items()}
        self.frame_shapes = {modality: kind.frame_shape for modality, kind in kinds.items()}
        self.lengths = torch.zeros(len(rows), dtype=torch.int64)
        self._bytes = torch.zeros(len(rows), dtype=torch.int64)
        for modality, reading in readings.items():
            frames = _pooled(store, rows, reading)
            per_frame = math.prod(kinds[modality].frame_shape) * np.dtype(kinds[modality].dtype).itemsize
            self._bytes += frames * (per_frame + 1)
            self.lengths += frames.clamp(max=self._longest.get(modality, 2**62))
        shard, offset = store.extents(next(iter(readings.values())).name)
        wanted = np.asarray(rows, np.int64)
        self._on_disk = torch.from_numpy(np.lexsort((offset[wanted], shard[wanted])))

    def visits(self, rows: Tensor, chance: torch.Generator | None = None) -> Iterator[Visit]:
        """Parts of the budget, one in use while the next one is read; without `chance` in the order of the disk."""
        wanted = torch.zeros(len(self._rows), dtype=torch.bool).index_fill_(0, rows, True)
        parts = self._parts(self._on_disk[wanted[self._on_disk]], chance)
        shuffled = rows if chance is None else rows[torch.randperm(len(rows), generator=chance)]
        jobs = [partial(self._visit, part, shuffled) for part in parts]
        with prefetch(jobs, threads=1, size=lambda visit: 1, budget=1) as lanes:
            for lane in lanes:
                yield from lane

    def only(self, modalities: Sequence[str], longest: Mapping[str, int] | None = None) -> "OnDisk":
        """The same with these modalities alone, cut to their `longest` (frames)."""
        readings = {name: self._readings[name] for name in modalities}
        shortest = dict(self._longest)
        for name, frames in (longest or {}).items():
            shortest[name] = min(frames, shortest.get(name, frames))
        return OnDisk(self._store, self._rows, readings, budget=self._budget, longest=shortest)

    def _parts(self, ordered: Tensor, chance: torch.Generator | None) -> list[Tensor]:
        """Cut rows, in the order of the disk, into blocks, and put those together that are in memory together."""
        size = self._budget / PARTS_AT_ONCE
        block = (self._bytes[ordered].cumsum(0).double() / (size / BLOCKS)).long()
        blocks = list(torch.split(ordered, torch.unique_consecutive(block, return_counts=True)[1].tolist()))
        if chance is not None:
            blocks = [blocks[i] for i in torch.randperm(len(blocks), generator=chance)]
        parts: list[list[Tensor]] = [[]]
        filled = 0.0
        for rows in blocks:
            cost = float(self._bytes[rows].sum())
            if parts[-1] and filled + cost > size:
                parts.append([])
                filled = 0.0
            parts[-1].append(rows)
            filled += cost
        return [torch.cat(rows) for rows in parts if rows]

    def _visit(self, part: Tensor, rows: Tensor) -> Iterator[Visit]:
        """Read the utterances of a part, and find out which of `rows` are among them."""
        place = torch.full((len(self._rows),), -1).index_put_((part,), torch.arange(len(part)))
        streams = read_streams(self._store, [self._rows[row] for row in part.tolist()], self._readings)
        here = rows[place[rows] >= 0]
        yield Visit(
            {name: _cut(stream, self._longest.get(name)) for name, stream in streams.items()}, here, place[here]
        )


def read_streams(
    store: FeatureStore, rows: Sequence[int], readings: Mapping[str, Reading]
) -> dict[str, PackedSequences]:
    """The sequences of utterances `rows` of the store, in that order, averaged to the rates wanted.

    Needs little more memory than what it gives back. Raises TrainingError that names the utterance for NaN or infinite
    numbers in a valid frame, StoreError for what cannot be read.
    """
    return {modality: _read(store, rows, reading) for modality, reading in readings.items()}


def _read(store: FeatureStore, rows: Sequence[int], reading: Reading) -> PackedSequences:
    kind = store.streams[reading.name]
    # What is allocated next is what the index says, which may come from anybody.
    store.check_files(reading.name, rows)
    lengths = _pooled(store, rows, reading)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    shape = (int(offsets[-1]), *kind.frame_shape)
    try:
        values = torch.from_numpy(np.empty(shape, kind.dtype))
    except MemoryError:
        size = math.prod(shape) * np.dtype(kind.dtype).itemsize
        raise TrainingError(
            f"{store.path}: the memory does not suffice for the {reading.name} features ({size / 1e9:,.1f} GB); leave "
            "them on the disk with --stream, or take shorter or fewer utterances"
        ) from None
    valid = torch.zeros(len(values), dtype=torch.bool)

    def read(piece: tuple[int, int]) -> None:
        first, last = piece
        into = slice(int(offsets[first]), int(offsets[last]))
        if reading.to_hz == reading.rate_hz:
            store.packed(reading.name, rows[first:last], out=(values[into].numpy(), valid[into].numpy()))
        else:
            packed = store.packed(reading.name, rows[first:last])
            stream = PackedSequences.of(*map(torch.from_numpy, (packed.values, packed.valid, packed.offsets)))
            pooled = averaged(stream, rate_hz=reading.rate_hz, to_hz=reading.to_hz)
            values[into], valid[into] = pooled.values[: into.stop - into.start], pooled.valid[: into.stop - into.start]
        if (frame := _broken(values[into], valid[into])) is not None:
            row = rows[int(torch.searchsorted(offsets, into.start + frame, right=True)) - 1]
            raise TrainingError(
                f"{store.path}: utterance {store.utterances[row].id!r} has NaN or infinite numbers in its "
                f"{reading.name} features; extract it again, or take it out of the manifest"
            )

    with ThreadPoolExecutor(min(READERS, available_cores())) as pool:
        for _ in pool.map(read, _pieces(store, rows, reading.name)):
            pass
    return PackedSequences.of(values, valid, offsets)


def _broken(values: Tensor, valid: Tensor) -> int | None:
    """The first valid frame that has a number that is none."""
    # A sum is no number if one of its terms is none, and takes a fraction of the time of looking at each. In float16 it
    # may also be infinite by itself; then each is looked at.
    suspicious = (~values.flatten(1).sum(1).isfinite() & valid).nonzero().squeeze(1)
    broken = suspicious[~values[suspicious].flatten(1).isfinite().all(1)]
    return int(broken[0]) if len(broken) else None


def _pieces(store: FeatureStore, rows: Sequence[int], name: str) -> Iterator[tuple[int, int]]:
    """Stretches of `rows` of about READ_BYTES each, at least one utterance."""
    kind = store.streams[name]
    per_frame = math.prod(kind.frame_shape) * np.dtype(kind.dtype).itemsize
    read = np.cumsum(store.lengths(name)[np.asarray(rows, np.int64)]) * per_frame // READ_BYTES
    ends = [*(np.flatnonzero(np.diff(read)) + 1).tolist(), len(rows)]
    yield from zip([0, *ends[:-1]], ends, strict=True)


def _pooled(store: FeatureStore, rows: Sequence[int], reading: Reading) -> Tensor:
    stored = torch.from_numpy(store.lengths(reading.name)[np.asarray(rows, np.int64)])
    return pooled_lengths(stored, rate_hz=reading.rate_hz, to_hz=reading.to_hz)


def _cut(stream: PackedSequences, longest: int | None) -> PackedSequences:
    return stream if longest is None else replace(stream, lengths=stream.lengths.clamp(max=longest))


M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8


LARGE = 4 << 20


def keep_heap_small() -> None:
    """One heap for all threads, and large tensors given back to the system at once; glibc only, elsewhere nothing.

    By default every thread has a heap of its own, and what was freed in one is of no use to the others.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:  # musl has none
            mallopt(M_ARENA_MAX, 1)
            mallopt(M_MMAP_THRESHOLD, LARGE)
