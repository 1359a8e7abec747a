"""Speed of reading features with their checksums, relative to copying the same bytes from a numpy.memmap.

    python benchmarks/reads.py [--store FOLDER] [--fraction 0.3] [--rounds 9] [--tiny]

Uses random features of IEMOCAP's shape (benchmarks/shaped.py): audio of width 768 at 50 Hz, 350 kB per utterance on
average, and faces of width 512 at 10 Hz, 47 kB. The files are in the page cache. Both sides copy values and validity
flags; foal also compares every utterance with its checksum. In each round all sides are measured in turn. A result is
the ratio of the least times of all rounds: other work on the machine, and memory that its host has to provide first,
only add to a time. Prints one JSON line:

    random_utterance      single utterances, all streams of each, in random order (goal 0.5)
    random_audio, random_face   the same for one stream
    sequential            all utterances of all streams in the order of the files (goal 0.8)
    training, training_wall   sequential as training reads, which also looks for NaN, with two threads
    utterances, megabytes

Ratios are of processor time, except for training_wall: on a machine with other work, wall time measures that work.

--tiny: a hundredth of the utterances.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common.report import check_measured, log, machine
from numpy.typing import NDArray
from shaped import write_shaped

from foal.shared.store.feature_store import FeatureStore, Packed
from foal.train.data.features import StreamSource, read_streams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="where the features are kept for another run")
    parser.add_argument("--fraction", type=float, default=0.3, help="of the 5,531 utterances")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.fraction, arguments.rounds = 0.01, 1
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.store or Path(scratch) / "store"
        if not (folder / "feats.h5").exists():
            write_shaped(folder, fraction=arguments.fraction)
        with FeatureStore(folder / "feats.h5") as store:
            measured = measure(store, Path(scratch), arguments.rounds)
    check_measured(measured, *measured)
    print(json.dumps({**measured, "machine": machine()}))


def measure(store: FeatureStore, scratch: Path, rounds: int) -> dict[str, float]:
    """Run all rounds; return the ratios and the size of the data."""
    plain = {name: PlainFile(store.packed(name), scratch / name) for name in store.streams}
    order = np.random.default_rng(0).permutation(len(store)).tolist()
    sources = {
        name: StreamSource(name=name, rate_hz=info.rate_hz, frame_rate=None) for name, info in store.streams.items()
    }
    rows: list[dict[str, Time]] = []
    for number in range(rounds):
        times = {
            "packed": timed(store.packed, plain),
            "training": timed(lambda _: read_streams(store, range(len(store)), sources), [None]),
            "copied": timed(lambda name: plain[name].copy(), plain),
        }
        for name, file in plain.items():
            times[f"foal {name}"] = timed(partial(store.read, name), order)
            times[f"memmap {name}"] = timed(file.read, order)
        rows.append(times)
        log(f"round {number + 1}: " + ", ".join(f"{name} {time.processor:.3f} s" for name, time in times.items()))
    processor = {name: min(times[name].processor for times in rows) for name in rows[0]}
    wall = {name: min(times[name].wall for times in rows) for name in rows[0]}
    ratios = {f"random_{name}": processor[f"memmap {name}"] / processor[f"foal {name}"] for name in plain}
    ratios["random_utterance"] = sum(processor[f"memmap {name}"] for name in plain) / sum(
        processor[f"foal {name}"] for name in plain
    )
    ratios["sequential"] = processor["copied"] / processor["packed"]
    ratios["training"] = processor["copied"] / processor["training"]
    ratios["training_wall"] = wall["copied"] / wall["training"]
    return {
        **{name: round(ratio, 3) for name, ratio in ratios.items()},
        "utterances": len(store),
        "megabytes": round(sum(file.values.nbytes + file.valid.nbytes for file in plain.values()) / 1e6, 1),
    }


class PlainFile:
    """The features of a stream in two plain files, mapped into memory."""

    def __init__(self, packed: Packed, path: Path) -> None:
        self._offsets = packed.offsets.tolist()
        self.values, self.valid = _mapped(packed.values, path), _mapped(packed.valid, path.with_suffix(".valid"))

    def read(self, row: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Copy the features of one utterance."""
        frames = slice(self._offsets[row], self._offsets[row + 1])
        return np.array(self.values[frames]), np.array(self.valid[frames])

    def copy(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Copy those of all utterances."""
        return np.array(self.values), np.array(self.valid)


def _mapped(array: NDArray[Any], path: Path) -> NDArray[Any]:
    array.tofile(path)
    return np.memmap(path, array.dtype, "r", shape=array.shape)


class Time(NamedTuple):
    """Processor and wall seconds."""

    processor: float
    wall: float


def timed(read: Callable[[Any], object], items: Iterable[Any]) -> Time:
    """The time of reading each of some items."""
    processor, wall = time.process_time(), time.perf_counter()
    for item in items:
        read(item)
    return Time(time.process_time() - processor, time.perf_counter() - wall)


if __name__ == "__main__":
    main()
