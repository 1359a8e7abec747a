"""Peak memory of a training process: with features in memory, and streaming more features than its memory limit.

    python benchmarks/train_memory.py [--limit-gb 2] [--times 10] [--fraction 1] [--store DIR] [--tiny]

Uses random features of IEMOCAP's shape (benchmarks/shaped.py), faces at 30 Hz. The first process loads all of them at
full frame rate and assembles the batches of an epoch: `ram_ratio` is its growth divided by the size of the features
(goal 1.3), and `ram_total_ratio` its total size, libraries included, divided by the same. The second process trains an
epoch with default settings. The third trains an epoch with --on-disk on features of `times` its memory limit, in a
memory control group with that limit (requires root; the kernel kills a process that exceeds it). Prints one JSON line
with the peak memory (VmHWM) and the seconds of each process.

--tiny: a hundredth of the features, and no control group.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common.report import check_measured, log, machine
from shaped import UTTERANCES, write_shaped

GB = 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit-gb", type=float, default=2.0)
    parser.add_argument("--times", type=float, default=10.0)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the 5,531 utterances in memory")
    parser.add_argument("--store", type=Path, help="where the features are kept for another run")
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    parser.add_argument("--child", nargs=3, metavar=("FEATURES", "HOW", "LIMIT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(Path(arguments.child[0]), arguments.child[1], float(arguments.child[2]))
        return
    if arguments.tiny:
        arguments.fraction = 0.01
    with tempfile.TemporaryDirectory() as scratch:
        place = arguments.store or Path(scratch)
        ram, disk = place / "face30", place / "large"
        if not (ram / "feats.h5").exists():
            write_shaped(ram, face_hz=30.0, fraction=arguments.fraction)
        loaded = run(ram / "feats.h5", "load", 0)
        default = run(ram / "feats.h5", "default", 0)
        # The distribution of durations is fixed, so the size is proportional to the number of utterances.
        utterances = round(UTTERANCES * arguments.fraction)
        if not arguments.tiny:
            utterances = round(utterances * arguments.times * arguments.limit_gb * GB / loaded["bytes"])
        if not (disk / "feats.h5").exists():
            write_shaped(disk, face_hz=30.0, utterances=utterances)
        streamed = run(disk / "feats.h5", "disk", 0 if arguments.tiny else arguments.limit_gb)
    result = {
        "ram_features_gb": round(loaded["bytes"] / GB, 4),
        "ram_largest_gb": round(loaded["largest"] / GB, 2),
        "ram_ratio": round((loaded["largest"] - loaded["before"]) / loaded["bytes"], 3),
        "ram_total_ratio": round(loaded["largest"] / loaded["bytes"], 3),
        "ram_s": round(loaded["seconds"], 3),
        "default_largest_gb": round(default["largest"] / GB, 2),
        "default_s": round(default["seconds"], 3),
        "default_ratio": round(default["largest"] / default["bytes"], 3),
        "disk_features_gb": round(streamed["bytes"] / GB, 4),
        "disk_largest_gb": round(streamed["largest"] / GB, 2),
        "disk_s": round(streamed["seconds"], 3),
    }
    check_measured(result, *result)
    print(json.dumps({**result, "disk_limit_gb": arguments.limit_gb, "machine": machine()}))


def run(features: Path, how: str, limit_gb: float) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(features), how, str(limit_gb)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{how}: {done.stderr[-2000:]}")
    log(f"{how}: {done.stdout.strip()}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def child(features: Path, how: str, limit_gb: float) -> None:
    """Run one epoch of the first fold, or only assemble its batches; print bytes, seconds and peak memory."""
    if limit_gb:
        confine(round(limit_gb * GB))
    import torch

    from foal.shared.config.train_settings import TrainSettings
    from foal.shared.store.feature_store import FeatureStore
    from foal.train.data.batches import training_batches
    from foal.train.data.dataset import open_dataset
    from foal.train.data.normalization import frame_statistics
    from foal.train.data.protocol import build_cross_validation
    from foal.train.fit.device import deterministic
    from foal.train.fit.loop import train_fold

    settings = TrainSettings(epochs=1, load="disk" if how == "disk" else "memory")
    if how == "load":
        settings = settings.model_copy(update={"frame_rate": None})
    before, began, device = largest(), time.perf_counter(), torch.device("cpu")
    with deterministic(device, 1), open_dataset(features, settings, classes=None) as data:
        folds = build_cross_validation(data.utterances, "loso-nested", data.speakers).folds
        rows = folds[0].train_rows
        if how == "load":
            frame_statistics(data.features, rows)
            chance = torch.Generator().manual_seed(0)
            for _ in training_batches(data, rows, batch_size=64, generator=chance, device=device):
                pass
        else:
            train_fold(data, folds[0], settings, seed=0, device=device)
    seconds = time.perf_counter() - began
    with FeatureStore(features) as store:
        size = sum(int(store.lengths(name).sum()) * (2 * kind.width + 1) for name, kind in store.streams.items())
    result = {"bytes": size, "largest": largest(), "before": before, "seconds": seconds}
    print(json.dumps(result))


def confine(size: int) -> None:
    """Move this process to a new memory control group, whose limit includes the page cache."""
    first, second = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    root, limit = (first, "memory.limit_in_bytes") if first.is_dir() else (second, "memory.max")
    group = root / f"foal-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(size))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        raise SystemExit(f"{group}: expected the right to make a memory control group: {error}") from None


def largest() -> int:
    """Return the peak memory of this process in bytes.

    `ru_maxrss` is not used because a process inherits it from its parent.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
