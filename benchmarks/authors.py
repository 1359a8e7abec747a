"""Time of a training step of the procedure of Foal-Net's authors, and the share of each of its inefficiencies.

    python benchmarks/authors.py [--features feats.h5] [--steps 8] [--threads 1] [--device cpu] [--tiny]

Reimplements the published procedure (Li et al. 2024, and the table in docs/network.md) with PyTorch's own modules, on
cached features instead of encoders. Without --features, it generates random features of IEMOCAP's shape
(benchmarks/shaped.py, 5% of the utterances, faces at 30 Hz). Prints one JSON line: seconds per step and per epoch of
the unchanged procedure, without each inefficiency, and without all of them. --tiny: one step of two utterances each.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.authors_network import Batch, Network, Wastes, training_loss
from common.report import check_measured, log, machine
from numpy.typing import NDArray
from shaped import write_shaped
from torch import Tensor
from torch.utils.data import WeightedRandomSampler

from foal.shared.store.feature_store import FeatureStore

BATCH = 16
CUT_S = 6.0
"""Longer sequences are truncated, shorter ones padded: 300 audio frames at 50 Hz, 180 face frames at 30 Hz."""
LEARNING_RATE = 1e-4

BUCKET_BATCHES = 8
WARM_UP = 2
"""Steps before the measurement; the first ones allocate memory."""

AS_IT_IS = Wastes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, help="a feats.h5 with audio and face")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--train-utterances", type=int, default=3319, help="of an epoch; three sessions of IEMOCAP")
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.steps = 1
    names = [field.name for field in fields(Wastes)]
    variants = {"as_it_is": Wastes(), **{f"without_{name}": Wastes(**{name: False}) for name in names}}
    variants["without_all"] = Wastes(**dict.fromkeys(names, False))
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        features = arguments.features or write_shaped(
            Path(scratch), face_hz=30.0, fraction=0.01 if arguments.tiny else 0.05
        )
        for variant, wastes in variants.items():
            measured = authors_step_seconds(
                features,
                steps=arguments.steps,
                threads=arguments.threads,
                seed=arguments.seed,
                wastes=wastes,
                device=arguments.device,
                train_utterances=arguments.train_utterances,
                batch_size=2 if arguments.tiny else BATCH,
            )
            check_measured(measured, "step_s", "compute_s", "cpu_s", "epoch_s", "data_share", "loss")
            log(f"{variant}: {measured}")
            result |= {f"{variant}_{name}": measured[name] for name in ("step_s", "cpu_s", "epoch_s", "data_share")}
    settings = {name: measured[name] for name in ("steps", "threads", "device", "precision", "epoch_steps")}
    print(json.dumps({**result, **settings, "machine": machine()}))


def authors_step_seconds(
    features: Path,
    *,
    steps: int,
    threads: int,
    seed: int = 0,
    wastes: Wastes = AS_IT_IS,
    device: str = "cpu",
    train_utterances: int | None = None,
    batch_size: int = BATCH,
) -> dict[str, Any]:
    """Train for `steps` steps on the utterances of a feats.h5, and time each, including the preparation of its batch.

    `step_s` and `compute_s` (without batch preparation) are medians, `mean_step_s` is the mean step, and `data_share`
    is the share of the total time spent on batch preparation, which includes the transfer to a GPU. `cpu_s` is the
    median CPU time, which is more reliable than wall-clock time if the thread shares its core. `epoch_s` is the time of
    an epoch over `train_utterances` (default: three fifths of the store): the median step times the number of steps, or
    the mean step for batches of similar length, whose steps differ. Use a multiple of eight `steps`.

    Precision is float32 on a CPU and mixed on a GPU, which is synchronized before and after each measurement.
    """
    where = torch.device(device)
    utterances = read_utterances(features)
    mixed = where.type == "cuda"
    half = torch.bfloat16 if mixed and torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    step_s, data_s, cpu_s = list[float](), list[float](), list[float]()
    with torch.random.fork_rng([where] if mixed else []), threads_set(threads):
        torch.manual_seed(seed)
        network = Network(utterances.widths, classes=int(utterances.labels.max()) + 1).to(where).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
        scaler = torch.amp.GradScaler(where.type, enabled=mixed and half is torch.float16)
        # Buckets are sorted by length: warm-up steps get their own plan, not the shortest batches of the measured one.
        planned = [*plan(utterances, WARM_UP, wastes, batch_size), *plan(utterances, steps, wastes, batch_size)]
        for number, rows in enumerate(planned):
            began, cpu_began = now(where), time.process_time()
            batch = collate(utterances, rows, where, fixed=wastes.fixed_padding)
            made = now(where)
            with torch.autocast(where.type, half, enabled=mixed):
                loss = training_loss(network, batch, wastes)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            if number >= WARM_UP:
                step_s.append(now(where) - began)
                data_s.append(made - began)
                cpu_s.append(time.process_time() - cpu_began)
        last_loss = loss.item()
    if not math.isfinite(last_loss):
        raise SystemExit(f"the loss came to {last_loss}; the seconds of such a run mean nothing")
    epoch_steps = math.ceil((train_utterances or math.ceil(len(utterances.labels) * 3 / 5)) / batch_size)
    typical = statistics.median if wastes.fixed_padding else statistics.fmean
    return {
        "step_s": round(statistics.median(step_s), 5),
        "mean_step_s": round(statistics.fmean(step_s), 5),
        "compute_s": round(statistics.median(a - b for a, b in zip(step_s, data_s, strict=True)), 5),
        "cpu_s": round(statistics.median(cpu_s), 5),
        "data_share": round(sum(data_s) / sum(step_s), 4),
        "epoch_steps": epoch_steps,
        "epoch_s": round(typical(step_s) * epoch_steps, 2),
        "loss": round(last_loss, 4),
        "steps": steps,
        "threads": threads,
        "seed": seed,
        "device": device,
        "precision": str(half).removeprefix("torch.") if mixed else "float32",
        **asdict(wastes),
    }


@contextmanager
def threads_set(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


# The data: one array per utterance in memory; batches are assembled one utterance at a time.


@dataclass(frozen=True, kw_only=True)
class Utterances:
    """audio and face: (t, width) per utterance as stored; labels (n,); maximum number of frames of each modality."""

    audio: Sequence[NDArray[Any]]
    face: Sequence[NDArray[Any]]
    labels: Tensor
    most: tuple[int, int]

    @property
    def widths(self) -> tuple[int, int]:
        """Widths of the audio and face features."""
        return self.audio[0].shape[1], self.face[0].shape[1]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of frames used of each utterance, audio plus face, (n,)."""
        audio, face = (
            np.minimum([len(frames) for frames in side], most)
            for side, most in zip((self.audio, self.face), self.most, strict=True)
        )
        return audio + face


def read_utterances(features: Path) -> Utterances:
    """Read all utterances that have audio and face features; the procedure requires both."""
    with FeatureStore(features) as store:
        rows = np.flatnonzero((store.lengths("audio") > 0) & (store.lengths("face") > 0)).tolist()
        names = [store.utterances[row].label for row in rows]
        classes = {name: number for number, name in enumerate(sorted(set(names)))}
        most = [math.floor(CUT_S * store.streams[name].rate_hz + 0.5) for name in ("audio", "face")]
        audio, face = (
            [store.packed(name, [row]).values[:longest] for row in rows]
            for name, longest in zip(("audio", "face"), most, strict=True)
        )
    labels = torch.tensor([classes[name] for name in names])
    return Utterances(audio=audio, face=face, labels=labels, most=(most[0], most[1]))


def plan(utterances: Utterances, steps: int, wastes: Wastes, batch_size: int) -> list[list[int]]:
    """Draw the rows of `steps` batches with replacement, each class with equal probability."""
    weights = (1.0 / torch.bincount(utterances.labels).float())[utterances.labels]
    drawn = np.array(list(WeightedRandomSampler(weights.tolist(), steps * batch_size)))
    batches = []
    size = BUCKET_BATCHES * batch_size
    for bucket in np.split(drawn, range(size, len(drawn), size)):
        if not wastes.fixed_padding:
            bucket = bucket[np.argsort(utterances.lengths[bucket], kind="stable")]
        batches += np.split(bucket, range(batch_size, len(bucket), batch_size))
    return [rows.tolist() for rows in batches]


def collate(utterances: Utterances, rows: Sequence[int], device: torch.device, *, fixed: bool) -> Batch:
    """Read and pad the utterances one at a time, then transfer the batch to the device."""
    audio, audio_valid = _padded([utterances.audio[row] for row in rows], utterances.most[0] if fixed else None)
    face, face_valid = _padded([utterances.face[row] for row in rows], utterances.most[1] if fixed else None)
    batch = Batch(audio, face, audio_valid, face_valid, utterances.labels[list(rows)])
    if device.type == "cpu":
        return batch
    return Batch(*(side.pin_memory().to(device, non_blocking=True) for side in batch))


def _padded(sequences: Sequence[NDArray[Any]], frames: int | None) -> tuple[Tensor, Tensor]:
    """Pad to (b, t, width) float32 with a validity mask (b, t); t is `frames` or the length of the longest sequence."""
    frames = frames or max(map(len, sequences))
    values = torch.zeros(len(sequences), frames, sequences[0].shape[1])
    valid = torch.zeros(len(sequences), frames, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        values[row, : len(sequence)] = torch.from_numpy(sequence)
        valid[row, : len(sequence)] = True
    return values, valid


if __name__ == "__main__":
    main()
