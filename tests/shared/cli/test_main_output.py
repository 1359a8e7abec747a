"""Failures outside a command: unwritable standard output and an invalid Dask configuration."""

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
def test_a_full_disk_is_reported_in_one_sentence(
    extraction: list[str], tmp_path: Path, command: str, unbuffered: str
) -> None:
    arguments = ["--help"] if command == "help" else extraction
    with FULL.open("w") as full:
        result = subprocess.run(
            [*COMMAND, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            timeout=100,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.startswith("foal: standard output cannot be written ([Errno 28] ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_the_exit_code_reports_the_failure_without_any_output(tmp_path: Path) -> None:
    with FULL.open("w") as full:
        result = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=full, cwd=tmp_path, timeout=100, check=False)
    assert result.returncode == 1


def help_to(output_fd: int, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, "--help"],
        stdout=output_fd,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        timeout=100,
        check=False,
    )


def test_a_closed_terminal_is_reported_in_one_sentence(tmp_path: Path) -> None:
    controller_fd, terminal_fd = pty.openpty()
    os.close(controller_fd)
    try:
        result = help_to(terminal_fd, tmp_path)
    finally:
        os.close(terminal_fd)
    assert result.returncode == 1
    assert result.stderr.startswith("foal: standard output cannot be written ([Errno 5] ")
    assert result.stderr.count("\n") == 1


def test_a_closed_pipe_ends_the_command_silently(tmp_path: Path) -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    try:
        result = help_to(write_fd, tmp_path)
    finally:
        os.close(write_fd)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize("text", ["distributed: [a", "just words", "distributed: {logging: {distributed: loud}}"])
def test_an_invalid_dask_configuration_is_reported_in_one_sentence(
    extraction: list[str], tmp_path: Path, text: str
) -> None:
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask/custom.yaml").write_text(text)
    result = subprocess.run(
        [*COMMAND, *extraction],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
        env={**os.environ, "DASK_CONFIG": str(tmp_path / "dask")},
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("foal: the Dask configuration cannot be read")
    assert "DASK_CONFIG" in result.stderr
    assert "Traceback" not in result.stderr
