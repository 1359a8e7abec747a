"""Untrusted input: every reader refuses a hostile feats.h5 or shard, or reads it correctly.

Changed stores get a valid seal, so that the checksum does not reveal the change. Child processes with limited memory
read the files; a child that crashes or takes too long is reported and replaced.
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

FOLDER = Path(__file__).parent
TIMEOUT_SECONDS, MEMORY_BYTES = 20.0, 1 << 30
FUZZED = "bit flips anywhere, with a recomputed seal"
OUTCOME = "refused with one message or read correctly, in a process with 1 GB of memory"

Case = tuple[int, str, str]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    """A folder of hostile files, and its cases: number, fault and file name."""
    folder = tmp_path_factory.mktemp("hostile")
    done = subprocess.run(
        [sys.executable, FOLDER / "hostile_files.py", folder], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder, [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def read_cases(folder: Path, cases: list[Case]) -> dict[Case, str]:
    """Return an error for each case, empty if it passed; a child that crashes or hangs is replaced."""
    errors_by_case: dict[Case, str] = {}
    while remaining := [case for case in cases if case not in errors_by_case]:
        with (folder / "errors.txt").open("w") as errors:
            child = subprocess.Popen(
                [sys.executable, FOLDER / "hostile_reader.py", folder, str(MEMORY_BYTES)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            )
            assert child.stdin is not None
            assert child.stdout is not None
            with child:
                for case in remaining:
                    child.stdin.write((json.dumps(case) + "\n").encode())
                    child.stdin.flush()
                    ready, _, _ = select.select([child.stdout], [], [], TIMEOUT_SECONDS + 10 * (case is remaining[0]))
                    line = child.stdout.readline() if ready else b""
                    if not line:
                        child.kill()
                        child.wait()
                        stderr = (folder / "errors.txt").read_text()[-600:]
                        errors_by_case[case] = f"crashed ({child.returncode}) {stderr}" if ready else "took too long"
                        break
                    errors_by_case[case] = json.loads(line)[1]
                child.stdin.close()
    return errors_by_case


@pytest.mark.sample
def test_every_reader_refuses_hostile_files_or_reads_them_correctly(
    hostile: tuple[Path, list[Case]], trial: Any
) -> None:
    folder, cases = hostile
    errors_by_case = read_cases(folder, cases)
    assert sum(fault != FUZZED for _, fault, _ in cases) >= 200
    for kind, count in Counter(fault for _, fault, _ in cases).items():
        with trial(f"hostile feats.h5 or shard: {kind}", OUTCOME, count=count):
            assert not {case: error for case, error in errors_by_case.items() if case[1] == kind and error}
