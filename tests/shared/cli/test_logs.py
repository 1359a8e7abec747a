"""Log messages of foal on the console and in log files."""

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from foal.shared.cli.console import get_console, print_json, start_console
from foal.shared.cli.logs import configure_logging, log_file

Foal = Callable[..., "subprocess.CompletedProcess[str]"]

log = logging.getLogger("foal.test")


def log_each_level() -> None:
    log.debug("details")
    log.info("status of %s", "[bold]id")
    log.warning("attention")
    log.error("failure")


@pytest.mark.parametrize(
    ("verbose", "quiet", "lines"),
    [
        (False, False, ["status of [bold]id", "warning: attention", "error: failure"]),
        (True, False, ["details", "status of [bold]id", "warning: attention", "error: failure"]),
        (False, True, ["warning: attention", "error: failure"]),
        (True, True, ["details", "status of [bold]id", "warning: attention", "error: failure"]),
    ],
)
def test_verbose_and_quiet_select_the_levels(
    capsys: pytest.CaptureFixture[str], verbose: bool, quiet: bool, lines: list[str]
) -> None:
    start_console(quiet=quiet)
    configure_logging(verbose=verbose, quiet=quiet)
    log_each_level()
    assert capsys.readouterr().out.splitlines() == lines


def test_quiet_suppresses_results_but_not_json(capsys: pytest.CaptureFixture[str]) -> None:
    console = start_console(quiet=True)
    configure_logging(quiet=True)
    console.print("table")
    log.warning("attention")
    print_json({"name": "ä\x9b"})
    get_console().print("table")
    assert capsys.readouterr().out == 'warning: attention\n{"name": "\\u00e4\\u009b"}\n'


def test_a_log_file_contains_every_message_of_its_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start_console(quiet=True)
    configure_logging(quiet=True)
    path = tmp_path / "run.log"
    log.info("before")
    for _ in range(2):
        with log_file(path):
            log_each_level()
    log.info("after")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.partition(" foal.test: ")[2] for line in lines] == 2 * [
        "details",
        "status of [bold]id",
        "attention",
        "failure",
    ]
    assert [line.split()[2] for line in lines[:4]] == ["DEBUG", "INFO", "WARNING", "ERROR"]
    assert capsys.readouterr().out.count("\n") == 4


def test_messages_of_other_libraries_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    start_console()
    configure_logging(verbose=True)
    logging.getLogger("distributed.worker").info("started")
    assert capsys.readouterr().out == ""


def test_the_flags_work_before_and_after_a_command(foal_here: Foal, tmp_path: Path) -> None:
    (tmp_path / "joy").mkdir()
    (tmp_path / "joy" / "a.mp4").touch()
    for arguments in (["--quiet", "manifest", "folder", "."], ["manifest", "folder", ".", "--quiet"]):
        result = foal_here(*arguments)
        assert result.returncode == 0, result.stderr
        assert result.stdout == ""
    assert "1 utterance" in foal_here("manifest", "folder", ".").stdout
