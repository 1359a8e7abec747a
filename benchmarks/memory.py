"""Peak memory of a worker with full-size encoders, and its growth with the number of utterances.

    python benchmarks/memory.py [--few 100] [--many 1000] [--tiny]

Runs `foal extract` with one worker (wav2vec2-base and InceptionResnetV1, seeded random weights) over few and over many
utterances of generated dialogs, and prints one JSON line: the peak resident set size of the worker in both runs, and
their ratio.

--tiny: a few seconds of media and a small audio encoder.
"""

import argparse
import json
import tempfile
from pathlib import Path

from common.dialogs import ONE_THREAD, Workload, copies, extract, save_encoder, write_long_dialog
from common.report import check_measured, log, machine

FPS = 2.0
DIALOG_SECONDS = 180.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=100, help="utterances of the first run")
    parser.add_argument("--many", type=int, default=1000, help="utterances of the second run")
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.few, arguments.many = 1, 4
    result: dict[str, float] = {"fps": FPS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        log("generating a dialog")
        write_long_dialog(folder / "corpus", 1, 1.0 if arguments.tiny else DIALOG_SECONDS)
        encoder = save_encoder(folder, tiny=arguments.tiny)
        for name, count in (("few", arguments.few), ("many", arguments.many)):
            work = Workload(folder=folder, encoder=encoder, fps=FPS, utterances=copies(folder / "corpus", count))
            run = extract(work, name, "--workers", "1", *ONE_THREAD)
            result |= {name: count, f"{name}_peak_mb": round(run.peak_bytes / 2**20)}
            log(f"{count} utterances: {run.seconds:.0f} s, {result[f'{name}_peak_mb']} MB")
    result["growth"] = round(result["many_peak_mb"] / result["few_peak_mb"], 3)
    check_measured(result, *result)
    print(json.dumps({**result, "machine": machine()}))


if __name__ == "__main__":
    main()
