"""The job file: it sets the scheduler while it runs, and takes it back."""

import os
import subprocess
from pathlib import Path

from foal.shared.config.settings import load_settings
from foal.shared.project.run import init_project

COMMANDS = {
    # The test would wait for a process that holds its output, should the signal of the job come before the sleep.
    "dask": "exec sleep 30 > /dev/null 2>&1",
    "srun": 'exec "$@"',
    "dvc": "cp params.yaml during.yaml; exit 7",
    "hostname": "echo node1",
}
"""Programs of the cluster: a scheduler and a worker that only wait, and a pipeline that fails."""


def test_the_job_runs_the_pipeline_with_its_own_scheduler(tmp_path: Path) -> None:
    project, programs = tmp_path / "project", tmp_path / "bin"
    programs.mkdir()
    for name, text in COMMANDS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    init_project(project, "slurm", "synthetic")
    before = (project / "params.yaml").read_text()
    variables = {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "12345", "SLURM_CPUS_PER_TASK": "8"}
    result = subprocess.run(
        ["bash", "foal.slurm"], cwd=project, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 7, result.stderr
    assert load_settings(project / "during.yaml").cluster.scheduler == "tcp://node1:32345"
    assert (project / "params.yaml").read_text() == before
