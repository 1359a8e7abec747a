"""The progress display: lines in a log, a bar on a terminal."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from foal.shared.cli.console import start_console
from foal.shared.cli.logs import configure_logging
from foal.shared.cli.progress import Pace, progress_display


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose output is not a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "")
    start_console()
    configure_logging()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    start_console()
    configure_logging()


@pytest.mark.usefixtures("log")
def test_a_log_contains_only_the_last_line_of_short_work(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display("extracting", total=3, unit="utterances") as display:
        for number in range(3):
            display.advance()
            display.update(f"{number} failures")
    assert capsys.readouterr().out == "3/3 utterances, 1 failures, elapsed 0 min 0 s\n"


@pytest.mark.usefixtures("log")
def test_a_log_contains_a_line_per_interval(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display("fits", unit="fits", line_seconds=0) as display:
        for number in range(1, 4):
            display.update("late fusion", completed=number, total=4)
    assert capsys.readouterr().out.splitlines() == [
        f"{number}/4 fits, late fusion, elapsed 0 min 0 s, about 0 min 0 s left" for number in (1, 2, 3)
    ]


@pytest.mark.usefixtures("log")
def test_a_log_contains_no_lines_if_they_are_disabled(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display("checking", total=3, in_bytes=True, line_seconds=None) as display:
        display.advance(3)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("options", "expected"), [({"unit": "utterances"}, "2/3"), ({"in_bytes": True}, "2/3 bytes"), ({}, "two done")]
)
def test_a_terminal_shows_a_bar_that_is_removed_at_the_end(
    capsys: pytest.CaptureFixture[str], options: dict[str, Any], expected: str
) -> None:
    with progress_display("[working]", total=3, **options) as display:
        display.advance(2)
        display.update("two done")
    printed = capsys.readouterr().out
    assert "[working]" in printed
    assert expected in printed
    assert printed.endswith("\x1b[2K")


@pytest.mark.usefixtures("log")
def test_several_threads_can_advance_the_display() -> None:
    with progress_display("checking", total=8000, line_seconds=None) as display:

        def advance_often() -> None:
            for _ in range(1000):
                display.advance()

        threads = [threading.Thread(target=advance_often) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert display.completed == 8000


def test_the_remaining_time_is_in_proportion_to_the_elapsed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 160.0, 160.0, 160.0, 160.0])
    # In this module only: Dask's threads of this process read the clock, too.
    monkeypatch.setattr("foal.shared.cli.progress.time", SimpleNamespace(monotonic=lambda: next(now)))
    pace = Pace()
    assert pace.text(1, 4) == "elapsed 1 min 0 s, about 3 min 0 s left"
    assert pace.text(4, 4) == pace.text(0, 4) == pace.text(3, None) == "elapsed 1 min 0 s"
