"""How much more two one-thread workers do than one.

    python benchmarks/workers.py [--minutes 6] [--corpus DIR]

Runs `foal extract` over drawn dialogs (as benchmarks/extract.py does) with one worker and with two, of one thread each,
and over a single utterance with each, for the time that it takes to begin and to end. Prints one JSON line: the seconds
of all four, `walls` (one worker's over two workers') and `work` (the same without beginning and end).
"""

import argparse
import json
import tempfile
from pathlib import Path

from say import machine, say

from extract import draw, foal, rows_of, save_encoder
from foal.shared.manifest import write_manifest

ONE_THREAD = ("--set", "cluster.threads=1", "--chunk-seconds", "30")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0, help="of drawn dialogs, four of them")
    parser.add_argument("--corpus", type=Path, help="where the drawn corpus is kept for another run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        corpus = arguments.corpus or work / "corpus"
        if not corpus.exists():
            for session in (1, 2, 3, 4):
                draw(corpus, session, arguments.minutes / 4 * 60)
        rows = rows_of(corpus)
        spec = {"fps": 10.0, "encoder": str(save_encoder(work))}
        seconds = {}
        for name, some in (("begin", rows[:1]), ("all", rows)):
            write_manifest(work / "m.csv", some)
            for workers in ("1", "2"):
                seconds[name, workers], _ = foal(work, spec, f"{name}{workers}", "--workers", workers, *ONE_THREAD)
                say(f"{name}, {workers}: {seconds[name, workers]:.1f} s")
    work_of = {workers: seconds["all", workers] - seconds["begin", workers] for workers in ("1", "2")}
    result = {
        **{f"{name}_{workers}_s": round(took, 2) for (name, workers), took in seconds.items()},
        "walls": round(seconds["all", "1"] / seconds["all", "2"], 3),
        "work": round(work_of["1"] / work_of["2"], 3),
        "utterances": len(rows),
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
