"""The files of docs/howto/run-on-a-cluster.md are run, with programs of a cluster that run what they are given."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from distributed.cli import dask_scheduler, dask_worker
from ruamel.yaml import YAML

from foal.shared.cli.main import main
from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "run-on-a-cluster.md"
NAMES = ("gpu-box.sh", "run.slurm", "worker.slurm", "slurm_cluster.py", "foal-cluster.yaml")
BLOCKS = PAGE.read_text(encoding="utf-8").split("```")
FILES = {
    name: block.partition("\n")[2]
    for text, block in zip(BLOCKS[::2], BLOCKS[1::2], strict=False)
    for name in NAMES
    if f"`{name}`" in text
}
"""The block of code below the name of each file."""

SBATCH = """#!/bin/bash
echo "$*" >> sbatch.calls
while [[ $1 == --* ]]; do shift; done
SLURM_CPUS_PER_TASK=2 bash "$1" < /dev/null > worker.log 2>&1 &
echo $!
"""
"""Runs one task of an array; the id of the job is that of its process."""

JOBQUEUE = """
from distributed import LocalCluster

class SLURMCluster(LocalCluster):
    def __init__(self, *, queue, cores, processes, memory, walltime, job_script_prologue, worker_extra_args,
                 local_directory, scheduler_options):
        options = {"n_workers": 0, "threads_per_worker": cores // processes, "processes": False}
        super().__init__(**options, protocol="tcp://", **scheduler_options)
"""
"""The arguments of dask_jobqueue 0.9 that the page uses, for a cluster on this machine."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two tones, and the programs of the files in PATH."""
    project, programs = tmp_path / "project", tmp_path / "bin"
    project.mkdir()
    programs.mkdir()
    commands = {
        "dask": f'exec {sys.executable} -m dask "$@"',
        "foal": f'exec {sys.executable} -c "from foal.shared.cli.main import main; main()" "$@"',
        "python3": f'exec {sys.executable} "$@"',
        "scancel": 'kill "$1"',
        "nvidia-smi": "echo 'GPU 0: none'",
    }
    for name, text in commands.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
    (programs / "sbatch").write_text(SBATCH)
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for number in range(2):
        soundfile.write(project / f"{number}.wav", np.sin(np.arange(16000) / (5 + number)) / 3, 16000)
    utterances = [Utterance(id=f"u{n}", corpus="c", audio=f"{n}.wav", end=1.0) for n in range(2)]
    write_manifest(project / "m.csv", utterances)
    (project / "params.yaml").write_text("corpus: {manifest: m.csv, root: .}\nextract: {streams: [audio]}\n")
    for name in NAMES:
        (project / name).write_text(FILES[name])
    return project


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_the_jobs_of_slurm_extract(folder: Path) -> None:
    done = run(folder, "bash", "run.slurm")
    assert done.returncode == 0, done.stderr + (folder / "worker.log").read_text()
    assert (folder / "feats.h5").exists()
    assert (folder / "sbatch.calls").read_text() == "--parsable --array=1-20 worker.slurm\n"


def test_the_script_of_a_gpu_machine_extracts(folder: Path) -> None:
    done = run(folder, "bash", "gpu-box.sh", "--no-index")
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "features").glob("c/*/*.h5"))) == 1


def test_the_script_with_dask_jobqueue_starts_the_command(folder: Path) -> None:
    (folder / "dask_jobqueue.py").write_text(JOBQUEUE)
    (folder.parent / "bin" / "foal").write_text('#!/bin/bash\necho "$*" > call; exit 3\n')
    done = run(folder, sys.executable, "slurm_cluster.py")
    assert done.returncode == 3, done.stderr
    assert (folder / "call").read_text().startswith("extract --split all --scheduler tcp://")


def test_the_commands_in_the_containers_have_existing_options(capsys: pytest.CaptureFixture[str]) -> None:
    documents: list[Any] = list(YAML(typ="safe").load_all(FILES["foal-cluster.yaml"]))
    assert [document["kind"] for document in documents] == ["Service", "Deployment", "Deployment", "Job"]
    parsers: dict[str, Callable[[list[str]], object]] = {
        "scheduler": lambda words: dask_scheduler.main.make_context("dask scheduler", words),
        "worker": lambda words: dask_worker.main.make_context("dask worker", words),
    }
    for document in documents[1:]:
        (container,) = document["spec"]["template"]["spec"]["containers"]
        program, name, *words = container["command"]
        if program == "dask":
            parsers[name](words)
            continue
        with pytest.raises(SystemExit) as left:
            main([name, *words, "--help"])
        assert left.value.code == 0
        assert "--wait-workers" in capsys.readouterr().out
