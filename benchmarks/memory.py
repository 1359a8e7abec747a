"""How much memory a worker takes with encoders of full size, and whether that grows with the number of utterances.

    python benchmarks/memory.py [--few 100] [--many 1000]

Runs `foal extract` with one worker (wav2vec2-base and InceptionResnetV1, seeded random weights) over that many
utterances of drawn dialogs, and prints one JSON line: the largest resident set of a worker in both runs, and their
ratio.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from say import machine, say

from extract import draw, foal, save_encoder
from foal.manifests.iemocap import build as read_dialogs
from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance

FPS = 2.0
DIALOG_SECONDS = 180.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=100, help="utterances of the first run")
    parser.add_argument("--many", type=int, default=1000, help="utterances of the second run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        say(f"drawing a dialog of {DIALOG_SECONDS:g} s")
        draw(work / "corpus", 1, DIALOG_SECONDS)
        spec = {"fps": FPS, "encoder": str(save_encoder(work))}
        peaks = {}
        for name, count in (("few", arguments.few), ("many", arguments.many)):
            write_manifest(work / "m.csv", copies(work / "corpus", count))
            seconds, peak = foal(work, spec, name, "--workers", "1", "--set", "cluster.threads=1")
            peaks[name] = round(peak / 2**20)
            say(f"{count} utterances: {seconds:.0f} s, {peaks[name]} MB")
    result = {
        "few": arguments.few,
        "few_peak_mb": peaks["few"],
        "many": arguments.many,
        "many_peak_mb": peaks["many"],
        "growth": round(peaks["many"] / peaks["few"], 3),
        "fps": FPS,
        "machine": machine(),
    }
    print(json.dumps(result))


def copies(corpus: Path, count: int) -> list[Utterance]:
    """So many utterances, of as many copies of the dialog as that takes."""
    drawn = read_dialogs(corpus.absolute(), corpus="synthetic").utterances
    rows: list[Utterance] = []
    while len(rows) < count:
        number = len(rows) // len(drawn)
        video = corpus / f"{number}.avi"
        if not video.exists():
            shutil.copy(corpus / drawn[0].video, video)
        for utterance in drawn:
            audio = (corpus / utterance.audio).resolve().as_posix().lstrip("/")
            rows.append(
                replace(
                    utterance,
                    id=f"{utterance.id}-{number}",
                    session="bench",
                    audio=audio,
                    video=video.resolve().as_posix().lstrip("/"),
                )
            )
    return rows[:count]


if __name__ == "__main__":
    main()
