"""Speedup of two single-threaded workers over one.

    python benchmarks/workers.py [--minutes 6] [--corpus DIR] [--tiny]

Runs `foal extract` over generated dialogs (as benchmarks/extract.py does) with one and with two single-threaded
workers. Two more runs over a single utterance measure the time of start-up and shutdown. Prints one JSON line: the
seconds of all four runs, `walls` (time of one worker divided by that of two) and `work` (the same without start-up and
shutdown).

--tiny: a few seconds of media and a small audio encoder; start-up and shutdown dominate, so `work` is omitted.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.dialogs import ONE_THREAD, Run, Workload, extract, read_rows, save_encoder, write_long_dialog
from common.report import check_measured, log, machine

OPTIONS = (*ONE_THREAD, "--chunk-seconds", "30")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0, help="total length of the four generated dialogs")
    parser.add_argument("--corpus", type=Path, help="keep the generated corpus in this folder, for another run")
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    sessions = (1,) if arguments.tiny else (1, 2, 3, 4)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        corpus = arguments.corpus or folder / "corpus"
        if not corpus.exists():
            for session in sessions:
                write_long_dialog(corpus, session, 1.0 if arguments.tiny else arguments.minutes / 4 * 60)
        work = Workload(
            folder=folder,
            encoder=save_encoder(folder, tiny=arguments.tiny),
            fps=1.0 if arguments.tiny else 10.0,
            utterances=read_rows(corpus),
        )
        print(json.dumps({**measure(work, tiny=arguments.tiny), "machine": machine()}))


def measure(work: Workload, *, tiny: bool) -> dict[str, Any]:
    """Execute all four runs, or with `tiny` only the two over all utterances."""
    runs: dict[tuple[str, int], Run] = {}
    for name, utterances in (("begin", work.utterances[:1]), ("all", work.utterances)):
        for workers in (1, 2):
            if name == "all" or not tiny:
                part = replace(work, utterances=utterances)
                runs[name, workers] = extract(part, f"{name}{workers}", "--workers", str(workers), *OPTIONS)
                log(f"{name}, {workers} workers: {runs[name, workers].seconds:.1f} s")
    result = {f"{name}_{workers}_s": round(run.seconds, 2) for (name, workers), run in runs.items()}
    result["walls"] = round(runs["all", 1].seconds / runs["all", 2].seconds, 3)
    if not tiny:
        alone, together = (runs["all", count].seconds - runs["begin", count].seconds for count in (1, 2))
        result["work"] = round(alone / together, 3)
    result["utterances"] = len(work.utterances)
    check_measured(result, *result)
    return result


if __name__ == "__main__":
    main()
