"""A signal ends a command with a one-sentence message and the exit code 128 plus its number."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from foal.shared.cli.signals import SIGNALS

STOPPED = "foal: stopped; finished work is kept, rerun the same command to resume\n"

# The test runner may have been started with ignored signals (nohup, a background job of a script).
RESET = """
import signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
"""
HANGUP_IGNORED = RESET + "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
LISTEN = """
import sys, time
from foal.shared.cli.signals import StoppedError, Stopping
stopping = Stopping()
stopping.listen()
print("ready", flush=True)
"""
# A command that sleeps while its module is imported.
COMMAND = """
import sys, time
from foal.shared.cli.main import main
class Sleep:
    def find_spec(self, name, *_):
        if name == "foal.manifests.cli":
            try:
                print("ready", flush=True)
                time.sleep(60)
            finally:
                print("cleanup", flush=True)
                {cleanup}
sys.meta_path.insert(0, Sleep())
main(["manifest", "--help"])
"""


@contextmanager
def running_python(script: str, *, hangup_ignored: bool = False) -> Iterator["subprocess.Popen[str]"]:
    """A Python process that has printed "ready"; killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", (HANGUP_IGNORED if hangup_ignored else RESET) + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_command_with_its_exit_code(number: signal.Signals) -> None:
    with running_python(COMMAND.format(cleanup="pass")) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=50)
    assert (process.returncode, out, err) == (128 + number, "cleanup\n", STOPPED)


def test_a_second_signal_during_the_cleanup_prints_no_traceback() -> None:
    with running_python(COMMAND.format(cleanup="time.sleep(60)")) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "cleanup\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=50)
    # The exit code is that of the first signal.
    assert (process.returncode, out, err) == (130, "", STOPPED)


def test_an_ignored_signal_stays_ignored() -> None:
    script = LISTEN + "time.sleep(1)\nsys.exit(7)\n"
    with running_python(script, hangup_ignored=True) as process:
        process.send_signal(signal.SIGHUP)
        assert process.wait(50) == 7


def test_the_error_is_not_caught_by_except_exception() -> None:
    script = LISTEN.replace('print("ready", flush=True)', "") + (
        "try:\n    print('ready', flush=True)\n    time.sleep(60)\nexcept Exception:\n    sys.exit(1)\n"
        "except StoppedError:\n    sys.exit(stopping.number)\n"
    )
    with running_python(script) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(50) == signal.SIGTERM


def test_signals_are_ignored_after_the_end_of_the_command() -> None:
    with running_python(
        LISTEN + "stopping.ignore()\nprint('over', flush=True)\ntime.sleep(1)\nsys.exit(7)\n"
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "over\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(50) == 7
