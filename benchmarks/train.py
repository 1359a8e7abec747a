"""Time of a training epoch: the authors' procedure, ours with the same widths, and ours with default settings.

    python benchmarks/train.py [--rounds 3] [--steps 8] [--threads 1] [--device cpu] [--full] [--workers 1,2]
        [--tiny]

Uses random features of IEMOCAP's shape (benchmarks/shaped.py); three sessions are the training set. Each round runs a
few steps of each procedure in turn, so that noise of the machine affects all of them equally; results are medians over
the rounds, scaled to an epoch. The authors' procedure is benchmarks/authors.py; ours is the code of `foal train`.
Prints one JSON line:

    authors_epoch_s, same_width_epoch_s, default_epoch_s   seconds of one epoch
    speedup_same_width (goal 2.5), speedup_default (goal 40)
    own_losses_epoch_s, speedup_own_losses   the same widths with our losses, which use a third pair
    data_wait        share of a default step spent waiting for data (goal 0.05)
    step_ms          processor time of a default step on one core
    step_gflop       its arithmetic, forward and backward: matrix products and attention (torch.utils.flop_counter)
    gemm_gflops      speed of a core in a float32 product of square matrices
    limit_ms         the second divided by the third
    vs_arithmetic    step_ms divided by limit_ms (goal 4)
    full_run_s       with --full: all five folds of one seed, by the number of workers

--tiny: one step of two utterances of each procedure.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from authors import BATCH, authors_step_seconds
from common.report import check_measured, log, machine
from shaped import write_shaped
from torch.utils.flop_counter import FlopCounterMode

from foal.shared.config.settings import ClusterSettings, Settings
from foal.shared.config.train_settings import TrainSettings
from foal.train.data.batches import training_batch_size, training_batches
from foal.train.data.dataset import open_dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.data.sequences import Batch
from foal.train.fit.device import deterministic
from foal.train.fit.loop import fit_normalization, train_epoch
from foal.train.fit.optimizer import Optimizer
from foal.train.model.foalnet import build_model
from foal.train.model.networks import architecture_for
from foal.train.run import train

SAME_WIDTH = TrainSettings(preset="paper", max_seconds=6.0, compat="reference")
"""Widths, layers, batch size, maximum length and losses of the authors: the same task in our implementation."""
OWN_LOSSES = TrainSettings(preset="paper", max_seconds=6.0)
"""The same with our losses: MEM uses a third pair, with another utterance of the same emotion."""
DEFAULT = TrainSettings()
GEMM_SIZE = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="of the authors' procedure in a round; of ours more")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the 5,531 utterances, for a quick look")
    parser.add_argument("--full", action="store_true", help="also all five folds of one seed")
    parser.add_argument("--workers", default="1", help="with --full: numbers of workers, with commas")
    parser.add_argument("--store", type=Path, help="where the features are kept for another run")
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.rounds, arguments.steps, arguments.fraction = 1, 1, 0.01
    with tempfile.TemporaryDirectory() as scratch:
        place = arguments.store or Path(scratch)
        stores = {}
        for face_hz in (30.0, 10.0):
            folder = place / f"face{face_hz:.0f}"
            stores[face_hz] = folder / "feats.h5"
            if not stores[face_hz].exists():
                write_shaped(folder, face_hz=face_hz, fraction=arguments.fraction)
        measured = compare(stores, arguments)
        steps, rounds = (1, 1) if arguments.tiny else (20, 5)
        with deterministic(torch.device("cpu"), 1):
            measured |= arithmetic(stores[10.0], steps=steps, rounds=rounds)
        check_measured(measured, *measured)
        result: dict[str, Any] = dict(measured)
        if arguments.full:
            result["full_run_s"] = {
                workers: round(full_run(stores[10.0], arguments.device, int(workers)), 1)
                for workers in arguments.workers.split(",")
            }
    settings = {"threads": arguments.threads, "device": device_name(arguments.device), "fraction": arguments.fraction}
    print(json.dumps({**result, **settings, "machine": machine()}))


def compare(stores: dict[float, Path], arguments: argparse.Namespace) -> dict[str, float | int]:
    """Run the rounds of all four procedures; return their epoch times and ratios."""
    device = torch.device(arguments.device)
    warm_up = 1 if arguments.tiny else WARM_UP
    batch = {"batch_size": 2} if arguments.tiny else {}
    seconds: dict[str, list[float]] = {"authors": [], "same_width": [], "own_losses": [], "default": []}
    waits: list[float] = []
    with (
        deterministic(device, arguments.threads),
        stepper(stores[30.0], SAME_WIDTH.model_copy(update=batch), device) as (same, same_steps, trained),
        stepper(stores[30.0], OWN_LOSSES.model_copy(update=batch), device) as (own, _, _),
        stepper(stores[10.0], DEFAULT.model_copy(update=batch), device) as (default, default_steps, _),
    ):
        for procedure in (same, own, default):
            procedure(warm_up)
        for number in range(arguments.rounds):
            theirs = authors_step_seconds(
                stores[30.0],
                steps=arguments.steps,
                threads=arguments.threads,
                seed=number,
                device=arguments.device,
                train_utterances=trained,
                batch_size=2 if arguments.tiny else BATCH,
            )
            seconds["authors"].append(theirs["epoch_s"])
            step, _ = same(4 * arguments.steps)
            seconds["same_width"].append(step * same_steps)
            step, _ = own(4 * arguments.steps)
            seconds["own_losses"].append(step * same_steps)
            step, wait = default(8 * arguments.steps)
            seconds["default"].append(step * default_steps)
            waits.append(wait / step)
            log(f"round {number + 1}: " + ", ".join(f"{name} {rounds[-1]:.2f} s" for name, rounds in seconds.items()))
    epochs = {name: statistics.median(rounds) for name, rounds in seconds.items()}
    return {
        **{f"{name}_epoch_s": round(took, 3) for name, took in epochs.items()},
        "speedup_same_width": round(epochs["authors"] / epochs["same_width"], 2),
        "speedup_own_losses": round(epochs["authors"] / epochs["own_losses"], 2),
        "speedup_default": round(epochs["authors"] / epochs["default"], 2),
        "data_wait": round(statistics.median(waits), 6),
        "train_utterances": trained,
    }


WARM_UP = 16


class stepper:  # noqa: N801  (used like a function)
    """Context manager that prepares training with our code.

    Yields a function that runs a number of steps and returns (seconds, seconds of waiting for data) per step; the
    number of steps of an epoch; and the number of training utterances.
    """

    def __init__(self, features: Path, settings: TrainSettings, device: torch.device) -> None:
        self._settings, self._device = settings, device
        self._opened = open_dataset(features, settings, classes=None)

    def __enter__(self) -> tuple[Callable[[int], tuple[float, float]], int, int]:
        data = self._opened.__enter__().to(self._device)
        rows = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0].train_rows
        torch.manual_seed(0)
        model = build_model(architecture_for(data, self._settings)).to(self._device)
        fit_normalization(model, data, rows)
        optimizer = Optimizer(model, self._settings, self._device)
        size = training_batch_size(self._settings.batch_size, len(rows))
        chance, pairs = torch.Generator().manual_seed(0), torch.Generator(self._device).manual_seed(0)

        def epochs() -> Iterator[Batch]:
            for _ in cycle([None]):
                yield from training_batches(
                    data,
                    rows,
                    batch_size=size,
                    frames=self._settings.batch_frames,
                    generator=chance,
                    device=self._device,
                )

        batches = epochs()

        def steps(count: int) -> tuple[float, float]:
            waited = 0.0

            def timed() -> Iterator[Batch]:
                nonlocal waited
                source = islice(batches, count)
                while True:
                    began = time.perf_counter()
                    batch = next(source, None)
                    waited += time.perf_counter() - began
                    if batch is None:
                        return
                    yield batch

            began = time.perf_counter()
            # Returns Python numbers, and therefore synchronizes with the device.
            train_epoch(model, timed(), optimizer, self._settings, pairs, draws=len(rows), epoch=1)
            return (time.perf_counter() - began) / count, waited / count

        return steps, -(-len(rows) // size), len(rows)

    def __exit__(self, *error: object) -> None:
        self._opened.__exit__(*error)  # type: ignore[arg-type]


def arithmetic(features: Path, *, steps: int, rounds: int) -> dict[str, float]:
    """Return the processor time of a default step on a CPU, and its arithmetic: least of rounds of the same batches."""
    device = torch.device("cpu")
    with open_dataset(features, DEFAULT, classes=None) as data:
        rows = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0].refit_rows
        size = training_batch_size(DEFAULT.batch_size, len(rows))
        chance = torch.Generator().manual_seed(0)
        epoch = list(
            training_batches(data, rows, batch_size=size, frames=DEFAULT.batch_frames, generator=chance, device=device)
        )
        batches = list(islice(cycle(epoch), steps))
        torch.manual_seed(0)
        model = build_model(architecture_for(data, DEFAULT))
        fit_normalization(model, data, rows)
        optimizer = Optimizer(model, DEFAULT, device)
        draws = sum(batch.size for batch in batches)

        def run_steps() -> None:
            train_epoch(model, batches, optimizer, DEFAULT, chance, draws=draws, epoch=1)

        with FlopCounterMode(display=False) as counter:
            run_steps()
        flops = counter.get_total_flops() / steps
        square = torch.randn(GEMM_SIZE, GEMM_SIZE)
        step_s, gemm_s = [], []
        for number in range(rounds):
            step_s.append(processor_seconds(run_steps) / steps)
            gemm_s.append(min(processor_seconds(lambda: square @ square) for _ in range(10)))
            log(f"round {number + 1}: step {1e3 * step_s[-1]:.1f} ms, {2e-9 * GEMM_SIZE**3 / gemm_s[-1]:.0f} GFLOP/s")
    speed = 2 * GEMM_SIZE**3 / min(gemm_s)
    return {
        "step_ms": round(1e3 * min(step_s), 2),
        "step_gflop": round(1e-9 * flops, 3),
        "gemm_gflops": round(1e-9 * speed, 1),
        "limit_ms": round(1e3 * flops / speed, 3),
        "vs_arithmetic": round(min(step_s) * speed / flops, 2),
    }


def processor_seconds(work: Callable[[], object]) -> float:
    """The processor time of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def full_run(features: Path, device: str, workers: int) -> float:
    """Return the seconds of `foal train` over all folds, from opening the features to the plots."""
    settings = Settings(train=DEFAULT, cluster=ClusterSettings(device=device, workers=workers))
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        train(settings, features, Path(scratch) / "run", parallel=workers > 1)
        took = time.perf_counter() - began
    log(f"all folds with {workers} worker(s): {took:.1f} s")
    return took


def device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


if __name__ == "__main__":
    main()
