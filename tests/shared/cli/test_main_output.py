"""Failures outside of a command: an output that cannot be written, an invalid configuration of Dask."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
COMMAND = [sys.executable, "-c", "from foal.shared.cli.main import main; main()"]
FULL = Path("/dev/full")


@pytest.fixture
def extraction(foal_here: Foal, synthetic_corpus: Path) -> list[str]:
    assert foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    return ["extract", "-s", "all", "-m", "m.csv", "-r", str(synthetic_corpus), "--streams", "audio", "-j", "1"]


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["help", "extract"])
def test_an_output_on_a_full_disk_is_one_sentence(
    extraction: list[str], tmp_path: Path, command: str, unbuffered: str
) -> None:
    arguments = ["--help"] if command == "help" else extraction
    with FULL.open("w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            timeout=100,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("foal: standard output cannot be written ([Errno 28] ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_without_any_output_the_exit_code_still_reports_the_failure(tmp_path: Path) -> None:
    with FULL.open("w") as full:
        done = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=full, cwd=tmp_path, timeout=100, check=False)
    assert done.returncode == 1


def test_an_output_on_a_closed_terminal_is_one_sentence(tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    os.close(terminal)
    try:
        done = subprocess.run(
            [*COMMAND, "--help"], stdout=end, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=100, check=False
        )
    finally:
        os.close(end)
    assert done.returncode == 1
    assert done.stderr.startswith("foal: standard output cannot be written ([Errno 5] ")
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_ends_the_command_silently(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*COMMAND, "--help"],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            timeout=100,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("text", ["distributed: [a", "just words", "distributed: {logging: {distributed: loud}}"])
def test_an_invalid_configuration_of_dask_is_one_sentence(extraction: list[str], tmp_path: Path, text: str) -> None:
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask/mine.yaml").write_text(text)
    done = subprocess.run(
        [*COMMAND, *extraction],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
        env={**os.environ, "DASK_CONFIG": str(tmp_path / "dask")},
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("foal: the Dask configuration cannot be read")
    assert "DASK_CONFIG" in done.stderr
    assert "Traceback" not in done.stderr
