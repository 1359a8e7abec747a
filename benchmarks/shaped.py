"""A feature store with the shape of IEMOCAP and random values.

    python benchmarks/shaped.py FOLDER [--face-hz 30] [--fraction 0.05] [--seed 0] [--tiny]

Five sessions, ten speakers, the published counts of the four classes, and durations with the published mean, 95th
percentile, maximum and minimum. Audio features have width 768 at 50 Hz, face features width 512; both are float16 and
are stored like those of an extraction. The full set takes 2.2 GB (2.7 GB with faces at 30 Hz). Prints one JSON line
with statistics of the durations.

--tiny: a hundredth of the utterances.
"""

import argparse
import json
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from common.report import check_equal, check_measured, log, machine
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from foal.manifests.corpora.iemocap import CLASSES, PUBLISHED
from foal.shared.store.catalog import shard_folder
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.store.shard import Entry, ShardHeader, ShardWriter
from foal.shared.timing import AUDIO_ORIGIN, AUDIO_RATE_HZ, SAMPLE_RATE, audio_frames, face_times, to_samples
from foal.shared.utterance import Utterance, splits_of

UTTERANCES = 5531
MEAN_S, P95_S, LONGEST_S, SHORTEST_S = 4.55, 11.1, 34.1, 0.58
CUT_S, OVER_CUT = 6.0, 0.235
"""Share of the real corpus that is longer than six seconds; a check, since the durations are not fitted to it."""

AUDIO_WIDTH, FACE_WIDTH = 768, 512
FACE_RATE = 0.95
"""Share of the frames with a face."""

DIALOG_UTTERANCES = 37
SHARD_UTTERANCES = 32
BLOCK_FRAMES = 4096
"""Length of the block of random frames; the features of every utterance are a slice of it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--face-hz", type=float, default=10.0)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the utterances of each session and class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.fraction = 0.01
    began = time.perf_counter()
    path = write_shaped(arguments.folder, face_hz=arguments.face_hz, fraction=arguments.fraction, seed=arguments.seed)
    files = [*arguments.folder.rglob("*.h5")]
    seconds = durations(round(UTTERANCES * arguments.fraction), arguments.seed)
    with FeatureStore(path) as store:
        check_equal("utterances", len(store), len(seconds))
        for name in ("audio", "face"):
            check_equal(f"utterances with {name}", int((store.lengths(name) > 0).sum()), len(store))
    result = {
        "seconds": round(time.perf_counter() - began, 3),
        "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 1),
        "utterances": len(seconds),
        **figures(seconds),
    }
    check_measured(result, *result)
    print(json.dumps({"path": str(path), **result, "machine": machine()}))


def write_shaped(
    folder: Path, *, utterances: int = UTTERANCES, face_hz: float = 10.0, seed: int = 0, fraction: float = 1.0
) -> Path:
    """Write shards and index below `folder` and return the path of feats.h5. Equal arguments give equal values.

    With a `fraction` or fewer `utterances`, the shares of sessions and classes and the distribution of durations remain
    the same.
    """
    rows = shaped_utterances(round(utterances * fraction), seed)
    log(f"{len(rows)} utterances: {figures(np.array([row.seconds for row in rows]))}")
    keys = {}
    for modality, rate_hz, width in (("audio", AUDIO_RATE_HZ, AUDIO_WIDTH), ("face", face_hz, FACE_WIDTH)):
        spec = {"shaped": modality, "rate_hz": rate_hz, "width": width, "utterances": len(rows), "seed": seed}
        keys[modality] = sha256(json.dumps(spec).encode()).hexdigest()
        header = ShardHeader(
            modality=modality,
            config_hash=keys[modality],
            rate_hz=rate_hz,
            encoder="random:shaped",
            revision="",
            weights="0",
            random_weights=True,
            config=spec,
        )
        chance = np.random.default_rng([seed, width])
        block = chance.standard_normal((BLOCK_FRAMES, width), np.float32).astype(np.float16)
        for split, some in splits_of(rows).items():
            into = shard_folder(folder, split, modality, keys[modality])
            for first in range(0, len(some), SHARD_UTTERANCES):
                with ShardWriter(into / f"{first:05d}.h5", header, dtype="float16", command="shaped.py") as writer:
                    for utterance in some[first : first + SHARD_UTTERANCES]:
                        writer.add(_entry(utterance, header, block, chance))
    write_index(folder / "feats.h5", rows, folder, keys)
    return folder / "feats.h5"


def durations(utterances: int = UTTERANCES, seed: int = 0) -> NDArray[np.float64]:
    """Return the seconds of each utterance, (n,), in random order: a lognormal distribution clipped to the extremes.

    They are n equally spaced quantiles instead of samples, so that mean, 95th percentile and maximum match the
    published ones for a few dozen utterances and more.
    """
    normal = ndtri(np.linspace(0, 1, utterances))

    def clipped(spread: float) -> NDArray[np.float64]:
        seconds: NDArray[np.float64] = P95_S * np.exp(spread * (normal - ndtri(0.95)))
        return seconds.clip(SHORTEST_S, LONGEST_S)

    spread = brentq(lambda spread: clipped(spread).mean() - MEAN_S, 0.3, 1.2)
    return np.random.default_rng(seed).permutation(clipped(spread))


def figures(seconds: NDArray[np.float64]) -> dict[str, float]:
    """Return the statistics that are published for IEMOCAP."""
    return {
        "hours": round(float(seconds.sum()) / 3600, 3),
        "mean_s": round(float(seconds.mean()), 3),
        "p95_s": round(float(np.percentile(seconds, 95)), 3),
        "longest_s": round(float(seconds.max()), 3),
        "shortest_s": round(float(seconds.min()), 3),
        "over_6_s": round(float((seconds > CUT_S).mean()), 3),
    }


def shaped_utterances(utterances: int = UTTERANCES, seed: int = 0) -> list[Utterance]:
    """Return the rows of the manifest, named as in IEMOCAP and ordered by session and dialog."""
    chance = np.random.default_rng([seed, 1])
    seconds = iter(durations(utterances, seed).tolist())
    rows = []
    for session, counts in zip(PUBLISHED, _counts(utterances), strict=True):
        number = session.removeprefix("session")
        labels = chance.permutation(np.repeat(CLASSES, counts)).tolist()
        letters = chance.choice(["F", "M"], len(labels)).tolist()
        clock = 0.0
        for turn, (label, letter) in enumerate(zip(labels, letters, strict=True)):
            dialog, place = divmod(turn, DIALOG_UTTERANCES)
            marked = "FM"[dialog % 2]
            name = f"Ses0{number}{marked}_impro{dialog + 1:02d}"
            start = 0.0 if place == 0 else clock + 0.5
            clock = start + next(seconds)
            rows.append(
                Utterance(
                    id=f"{name}_{letter}{place:03d}",
                    corpus="shaped",
                    session=session,
                    speaker=f"Ses0{number}{letter}",
                    gender=letter,
                    label=label,
                    audio=f"Session{number}/sentences/wav/{name}/{name}_{place:03d}.wav",
                    video=f"Session{number}/dialog/avi/DivX/{name}.avi",
                    start=start,
                    end=clock,
                    crop="left" if letter == marked else "right",
                )
            )
    return rows


def _counts(utterances: int) -> Sequence[Sequence[int]]:
    """Scale the published table (session, class) to a number of utterances with the largest remainder method."""
    table = np.array(list(PUBLISHED.values()))
    exact = table * (utterances / table.sum())
    counts = np.floor(exact).astype(int)
    most_cut = np.argsort((counts - exact).ravel(), kind="stable")[: utterances - counts.sum()]
    counts.ravel()[most_cut] += 1
    scaled: list[list[int]] = counts.tolist()
    return scaled


def _entry(utterance: Utterance, header: ShardHeader, block: NDArray[np.float16], chance: np.random.Generator) -> Entry:
    """Build the features of an utterance: a slice of the block, zero in frames without a face; frame 0 has a face."""
    seconds = utterance.seconds or 0.0
    if header.modality == "audio":
        length, origin = audio_frames(to_samples(seconds, SAMPLE_RATE)), AUDIO_ORIGIN
    else:
        length, origin = len(face_times(0.0, seconds, header.rate_hz)), 0.5 / header.rate_hz
    first = int(chance.integers(len(block) - length + 1))
    values, valid = block[first : first + length], np.ones(length, bool)
    if header.modality == "face":
        valid[1:] = chance.random(length - 1) < FACE_RATE
        values = values * valid[:, None]
    return Entry(
        id=utterance.id, values=values, valid=valid, origin=origin, source=utterance.source(header.modality), media=""
    )


if __name__ == "__main__":
    main()
