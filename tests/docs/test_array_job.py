"""The job file of docs/howto/run-on-a-cluster.md for arrays: each task extracts its part."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from foal.shared.files.part import Part
from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance

PAGE = Path(__file__).parents[2] / "docs/howto/run-on-a-cluster.md"
FOAL = '#!/bin/bash\nprintf "%s\\n" "$@" > "arguments-$SLURM_ARRAY_TASK_ID"\n'
"""A command `foal` that only records its arguments."""


def job_file() -> str:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Array jobs")[2]
    found = re.search(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_each_task_of_the_array_extracts_its_part(
    foal_here: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "foal").write_text(FOAL)
    (tmp_path / "bin" / "foal").chmod(0o755)
    (tmp_path / "foal-parts.slurm").write_text(job_file())
    tasks = re.search(r"^#SBATCH --array=1-(\d+)$", job_file(), re.MULTILINE)
    assert tasks is not None
    for task in range(1, int(tasks[1]) + 1):
        # What Slurm sets if one task is submitted again.
        variables = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_SUBMIT_DIR": str(tmp_path)}
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        command = ["bash", str(tmp_path / "foal-parts.slurm"), "--break-lock"]
        subprocess.run(command, env={**os.environ, **variables, "PATH": path}, check=True, timeout=60)
    calls = [(tmp_path / f"arguments-{task}").read_text().split("\n")[:-1] for task in range(1, int(tasks[1]) + 1)]
    assert [call[call.index("--part") + 1] for call in calls] == [
        f"{task}/{tasks[1]}" for task in range(1, 1 + len(calls))
    ]
    # The options exist, as an empty part shows.
    write_manifest(tmp_path / "m.csv", [Utterance(id="u", corpus="c", label="hap", audio="0.wav", end=1.0)])
    empty = next(call for call in calls if not Part.parse(call[call.index("--part") + 1]).holds("0.wav"))
    done = foal_here(*empty, "-m", "m.csv", "-r", ".", "--streams", "audio")
    assert done.returncode == 0, done.stderr
    assert "holds 0 of 1 utterance" in done.stdout
