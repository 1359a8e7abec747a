"""Files from strangers: whatever a feats.h5 or a shard holds, every reader refuses it, or reads it right.

Every file has a right seal, so that the seal catches nothing. They are read in child processes with little memory: who
crashes or takes too long takes no test with it, and is named.
"""

import json
import os
import select
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PATIENCE_SECONDS, MEMORY_BYTES = 20.0, 1 << 30
FUZZED = "bits flip anywhere, the seal made anew"
OUTCOME = "refused in one message, or read right, in a process with 1 GB"

Case = tuple[int, str, str]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    """A folder of hostile files, and what is wrong with each."""
    folder = tmp_path_factory.mktemp("hostile")
    done = subprocess.run(
        [sys.executable, HERE / "hostile_files.py", folder], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder, [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def outcomes(folder: Path, cases: list[Case]) -> dict[Case, str]:
    """What is wrong with what came of each; a child that crashes or hangs is replaced by another."""
    found: dict[Case, str] = {}
    while left := [case for case in cases if case not in found]:
        with (folder / "errors.txt").open("w") as errors:
            child = subprocess.Popen(
                [sys.executable, HERE / "hostile_reader.py", folder, str(MEMORY_BYTES)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
            assert child.stdin is not None
            assert child.stdout is not None
            with child:
                for case in left:
                    child.stdin.write((json.dumps(case) + "\n").encode())
                    child.stdin.flush()
                    ready, _, _ = select.select([child.stdout], [], [], PATIENCE_SECONDS + 10 * (case is left[0]))
                    line = child.stdout.readline() if ready else b""
                    if not line:
                        child.kill()
                        child.wait()
                        said = (folder / "errors.txt").read_text()[-600:]
                        found[case] = f"crashed ({child.returncode}) {said}" if ready else "took too long"
                        break
                    found[case] = json.loads(line)[1]
                child.stdin.close()
    return found


@pytest.mark.sample
def test_every_reader_refuses_them_or_reads_them_right(hostile: tuple[Path, list[Case]], trial: Any) -> None:
    folder, cases = hostile
    found = outcomes(folder, cases)
    assert sum(fault != FUZZED for _, fault, _ in cases) >= 200
    for kind, count in Counter(fault for _, fault, _ in cases).items():
        with trial(f"hostile feats.h5 or shard: {kind}", OUTCOME, count=count):
            assert not {case: said for case, said in found.items() if case[1] == kind and said}
