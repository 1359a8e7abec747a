"""Processor time of a training step against its arithmetic: FLOPs divided by the speed of matrix products.

    python benchmarks/epoch.py [--store FOLDER] [--fraction 0.3] [--steps 20] [--rounds 5] [--tiny]

Uses random features of IEMOCAP's shape (benchmarks/shaped.py) with default settings, and one thread. The arithmetic
of a step is that of its matrix products and attention, forward and backward (torch.utils.flop_counter); the speed of a
core is that of a float32 product of square matrices. Steps and products are measured in turn; results are the least
processor times of all rounds. Prints one JSON line:

    step_ms, steps           processor time of a step, and steps of an epoch
    gflop, gemm_gflops       arithmetic of a step, and speed of a core
    limit_ms                 the first divided by the second
    ratio                    step_ms divided by limit_ms (goal 4)

--tiny: one step of a hundredth of the utterances.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import torch
from common.report import check_measured, log, machine
from shaped import write_shaped
from torch.utils.flop_counter import FlopCounterMode

from foal.shared.config.train_settings import TrainSettings
from foal.train.data.batches import training_batch_size, training_batches
from foal.train.data.dataset import open_dataset
from foal.train.data.protocol import build_cross_validation
from foal.train.fit.device import deterministic
from foal.train.fit.loop import fit_normalization, train_epoch
from foal.train.fit.optimizer import Optimizer
from foal.train.model.networks import architecture_for, build_network

GEMM_SIZE = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="where the features are kept for another run")
    parser.add_argument("--fraction", type=float, default=0.3, help="of the 5,531 utterances")
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.fraction, arguments.steps, arguments.rounds = 0.01, 1, 1
    with tempfile.TemporaryDirectory() as scratch, deterministic(torch.device("cpu"), 1):
        folder = arguments.store or Path(scratch)
        if not (folder / "feats.h5").exists():
            write_shaped(folder, fraction=arguments.fraction)
        result = measure(folder / "feats.h5", TrainSettings(), steps=arguments.steps, rounds=arguments.rounds)
    check_measured(result, *result)
    print(json.dumps({**result, "machine": machine()}))


def measure(features: Path, settings: TrainSettings, *, steps: int, rounds: int) -> dict[str, float]:
    """Train on the first fold for some rounds of the same `steps` batches; return times and arithmetic of a step."""
    device = torch.device("cpu")
    with open_dataset(features, settings, classes=None) as data:
        rows = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds[0].refit_rows
        size = training_batch_size(settings.batch_size, len(rows))
        chance = torch.Generator().manual_seed(0)
        epoch = list(
            training_batches(data, rows, batch_size=size, frames=settings.batch_frames, generator=chance, device=device)
        )
        batches = list(islice(cycle(epoch), steps))
        torch.manual_seed(0)
        model = build_network(architecture_for(data, settings))
        fit_normalization(model, data, rows)
        optimizer = Optimizer(model, settings, device)
        draws = sum(batch.size for batch in batches)

        def train() -> None:
            train_epoch(model, batches, optimizer, settings, chance, draws=draws, epoch=1)

        with FlopCounterMode(display=False) as counter:
            train()
        flops = counter.get_total_flops() / steps
        square = torch.randn(GEMM_SIZE, GEMM_SIZE)
        step_s, gemm_s = [], []
        for number in range(rounds):
            step_s.append(processor_seconds(train) / steps)
            gemm_s.append(min(processor_seconds(lambda: square @ square) for _ in range(10)))
            log(f"round {number + 1}: step {1e3 * step_s[-1]:.1f} ms, {2e-9 * GEMM_SIZE**3 / gemm_s[-1]:.0f} GFLOP/s")
    speed = 2 * GEMM_SIZE**3 / min(gemm_s)
    return {
        "step_ms": round(1e3 * min(step_s), 2),
        "steps": len(epoch),
        "gflop": round(1e-9 * flops, 3),
        "gemm_gflops": round(1e-9 * speed, 1),
        "limit_ms": round(1e3 * flops / speed, 3),
        "ratio": round(min(step_s) * speed / flops, 2),
    }


def processor_seconds(work: Callable[[], object]) -> float:
    """The processor time of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
