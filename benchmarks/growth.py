"""Cost of planning, indexing and opening features by the number of utterances.

    python benchmarks/growth.py [--sizes 1000,10000,100000,1000000] [--per-shard 500] [--corpora FOLDER] [--tiny]

Makes up corpora of these sizes: a manifest, media files that are empty, and shards of an audio and a face stream with
tiny frames. Each part runs in a process of its own, on the code of `foal extract` and `foal index`:

    manifest        read and check the manifest
    plan            what `foal extract` does before it starts workers, if nothing was extracted
    first_look      a run with nothing left to do that reads every shard, without a catalog, and writes feats.h5
    nothing_to_do   the same run again
    index           `foal index` without a feats.h5
    open            open feats.h5

Prints one JSON line: for each part and size the processor seconds without imports, the peak memory in MB with imports,
and for each part the exponent e of seconds ~ utterances^e.

--corpora: keep the corpora in this folder, and use those that it has already.
--tiny: a few hundred utterances.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PARTS = ("manifest", "plan", "first_look", "nothing_to_do", "index", "open")

SESSIONS = 10
UTTERANCES_PER_FILE = 20
SECONDS = 4.0
WIDTH = 4
MEDIA_TIME = 1_600_000_000_000_000_000
"""Modification time of all media in nanoseconds: their fingerprint is known without a look at each."""

COMPLETE = "complete"
"""File in the folder of a corpus that was made up completely."""


def settings_of(folder: Path, features: str = "features") -> Any:
    from foal.shared.config.settings import Settings

    return Settings.model_validate(
        {
            "corpus": {"root": str(folder / "media"), "manifest": str(folder / "corpus.csv")},
            "extract": {
                "features_dir": str(folder / features),
                "streams": ["audio", "face"],
                "audio": {"encoder": "random:tiny"},
                "face": {"encoder": "random:tiny"},
            },
            "index": str(folder / "feats.h5"),
        }
    )


def make_corpus(folder: Path, count: int, per_shard: int) -> None:
    """A manifest of `count` utterances, their media files, and shards of `per_shard` utterances."""
    from foal.shared.manifest import write_manifest

    utterances = list(utterances_of(count))
    folder.mkdir(parents=True)
    write_manifest(folder / "corpus.csv", utterances)
    for media in dict.fromkeys(utterance.audio for utterance in utterances):
        path = folder / "media" / media
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, ns=(MEDIA_TIME, MEDIA_TIME))
    write_shards(settings_of(folder), utterances, per_shard)
    (folder / COMPLETE).touch()


def utterances_of(count: int) -> Iterator[Any]:
    from foal.shared.utterance import Utterance

    for number in range(count):
        dialog, turn = divmod(number, UTTERANCES_PER_FILE)
        session = f"session{dialog % SESSIONS + 1}"
        media = f"{session}/dialog{dialog:06}.mp4"
        yield Utterance(
            id=f"{session}_dialog{dialog:06}_{turn:03}",
            corpus="growth",
            session=session,
            speaker=f"{session}{'FM'[turn % 2]}",
            gender="FM"[turn % 2],
            label=("ang", "hap", "neu", "sad")[number % 4],
            audio=media,
            video=media,
            start=SECONDS * turn,
            end=SECONDS * (turn + 1),
            crop=("left", "right")[turn % 2],
            transcript=f"Turn {turn} of dialog {dialog}, in words.",
            dialog=f"dialog{dialog:06}",
            turn=turn,
        )


def write_shards(settings: Any, utterances: list[Any], per_shard: int) -> None:
    import numpy as np

    from foal.extract.schedule.stream_spec import build_stream_spec
    from foal.shared.store.catalog import shard_folder, shard_name
    from foal.shared.store.shard import Entry, ShardWriter
    from foal.shared.utterance import splits_of

    values, valid = np.ones((2, WIDTH), np.float32), np.ones(2, bool)
    for stream in settings.extract.streams:
        spec = build_stream_spec(settings.extract, stream)
        for split, members in splits_of(utterances).items():
            folder = shard_folder(settings.extract.features_dir, split, spec.modality, spec.config_hash)
            for first in range(0, len(members), per_shard):
                part = members[first : first + per_shard]
                with ShardWriter(folder / shard_name(spec.modality, part), spec.header, dtype="float16") as writer:
                    for utterance in part:
                        writer.add(
                            Entry(
                                id=utterance.id,
                                values=values,
                                valid=valid,
                                origin=utterance.start or 0.0,
                                source=utterance.source(spec.modality),
                                media=f"0:{MEDIA_TIME}",
                                quality={"decoded": 1.0},
                            )
                        )


def measure(part: str, folder: Path, count: int) -> dict[str, float]:
    """Run a part in this process: processor seconds without imports, and the peak memory in MB."""
    from foal.extract.maintenance.index import index_features
    from foal.extract.run import extract
    from foal.extract.schedule.failures import Quarantine
    from foal.extract.schedule.pending import pending_chunks
    from foal.extract.schedule.stream_spec import build_stream_spec
    from foal.shared.manifest import check_inside, check_media, read_manifest
    from foal.shared.store.feature_store import FeatureStore
    from foal.shared.utterance import select_splits

    settings = settings_of(folder, "nothing" if part == "plan" else "features")
    began = time.process_time()
    if part == "manifest":
        check_equal("rows", len(read_manifest(settings.corpus.manifest)), count)
    elif part == "plan":
        utterances = select_splits(read_manifest(settings.corpus.manifest), ["all"])
        check_media(utterances, settings.corpus.manifest)
        check_inside(utterances, settings.corpus.root, settings.corpus.manifest)
        specs = [build_stream_spec(settings.extract, stream) for stream in settings.extract.streams]
        pending = pending_chunks(settings, utterances, specs, Quarantine(settings, utterances))
        check_equal("planned", sum(len(chunk.utterances) for chunk in pending.chunks), len(specs) * count)
    elif part in ("first_look", "nothing_to_do"):
        done = extract(settings, ["all"], index=settings.index)
        check_equal("up to date", done.skipped, count)
    elif part == "index":
        index_features(settings, settings.index, pack=False, config_hashes=[])
    else:
        with FeatureStore(settings.index) as store:
            check_equal("indexed", len(store), count)
    used = time.process_time() - began
    return {"s": round(used, 3), "mb": peak_mb()}


def peak_mb() -> int:
    """The peak memory of this process; getrusage would count that of the process which started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024


def check_equal(what: str, got: int, expected: int) -> None:
    """As in common.report, which would add the memory of PyTorch to every part."""
    if got != expected:
        raise SystemExit(f"{what}: expected {expected}, got {got}")


def measure_apart(part: str, folder: Path, count: int) -> dict[str, float]:
    """Run a part in a process of its own."""
    command = [sys.executable, __file__, "--measure", part, "--corpora", str(folder), "--sizes", str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def forget(folder: Path, index: Path) -> None:
    """Remove the index and what earlier runs have noted, but no shard."""
    index.unlink(missing_ok=True)
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".h5":
            path.unlink()


def exponent(seconds: dict[int, float]) -> float:
    """The slope of log seconds over log utterances, from 10,000 utterances on if two sizes are as large."""
    large = {count: used for count, used in seconds.items() if count >= 10_000}
    points = [(math.log(count), math.log(used)) for count, used in (large if len(large) > 1 else seconds).items()]
    middle, level = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((x - middle) * (y - level) for x, y in points) / sum((x - middle) ** 2 for x, _ in points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000", help="numbers of utterances")
    parser.add_argument("--per-shard", type=int, default=500, help="utterances per shard")
    parser.add_argument("--corpora", type=Path, help="folder that keeps the corpora")
    parser.add_argument("--parts", default=",".join(PARTS), help="parts to measure")
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    parser.add_argument("--measure", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [100, 400] if arguments.tiny else list(map(int, arguments.sizes.split(",")))
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.corpora, sizes[0])))
        return

    from common.report import check_measured, log, machine

    per_shard = 10 if arguments.tiny else arguments.per_shard
    parts = arguments.parts.split(",")
    result: dict[str, Any] = {"per_shard": per_shard}
    with tempfile.TemporaryDirectory() as scratch:
        for count in sizes:
            folder = (arguments.corpora or Path(scratch)) / f"{count}-{per_shard}"
            if not (folder / COMPLETE).exists():
                log(f"making up a corpus of {count} utterances")
                shutil.rmtree(folder, ignore_errors=True)
                make_corpus(folder, count, per_shard)
            forget(folder / "features", folder / "feats.h5")
            for part in parts:
                if part == "index":
                    (folder / "feats.h5").unlink(missing_ok=True)
                figures = measure_apart(part, folder, count)
                log(f"{count} utterances, {part}: {figures['s']} s, {figures['mb']} MB")
                result |= {f"{part}_{count}_{unit}": figure for unit, figure in figures.items()}
    for part in parts if len(sizes) > 1 else ():
        result[f"{part}_exponent"] = round(exponent({count: result[f"{part}_{count}_s"] for count in sizes}), 2)
    check_measured(result, *(name for name in result if not name.endswith("_exponent")))
    print(json.dumps({**result, "machine": machine()}))


if __name__ == "__main__":
    main()
