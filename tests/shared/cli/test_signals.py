"""A signal ends the command, wherever in it Python runs the handler."""

import subprocess
import sys
import time

import pytest

BEGIN = """
import gc, os, signal, sys, time, weakref
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
class Thing:
    pass
def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass
"""
# Python drops an exception that is raised in any of these; in the last one a library does.
PLACES = {
    "a weak reference's callback": "thing = Thing(); ref = weakref.ref(thing, interrupt); del thing",
    "a finalizer": "Thing.__del__ = interrupt; Thing()",
    "a callback of the garbage collector": "gc.callbacks.append(interrupt); gc.collect(); gc.callbacks.clear()",
    "code that catches everything": """
try:
    interrupt()
except BaseException:
    pass
""",
}
WORK = """
from foal.shared.cli.signals import StoppedError, Stopping
stopping = Stopping()
stopping.listen()
try:
{place}
    time.sleep(60)
except StoppedError:
    stopping.over()
    os.kill(os.getpid(), signal.SIGTERM)
    sys.exit(stopping.number)
"""
COMMAND = """
from foal.shared.cli.main import main
seen = []
def once(*_):
    if "foal.manifests.cli" in sys.modules and not seen:
        seen.append(1)
        interrupt()
gc.set_threshold(10)
gc.callbacks.append(once)
main(["manifest", "--help"])
"""
IGNORED = """
from foal.shared.cli.main import main
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.meta_path.insert(0, type("Once", (), {"find_spec": lambda *_: interrupt()}))
main(["manifest", "--help"])
"""


def done(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", BEGIN + script], capture_output=True, text=True, timeout=50, check=False
    )


@pytest.mark.parametrize("place", PLACES)
def test_a_signal_that_is_dropped_comes_again(place: str) -> None:
    began = time.monotonic()
    ended = done(WORK.format(place="\n".join("    " + line for line in PLACES[place].splitlines())))
    assert (ended.returncode, ended.stderr) == (2, "")
    assert time.monotonic() - began < 40


def test_a_command_that_ends_before_it_comes_again_was_stopped_all_the_same() -> None:
    ended = done(COMMAND)
    assert ended.returncode == 130
    assert ended.stderr == "foal: stopped; what was finished stays, the same command goes on from there\n"


def test_what_is_cleaned_up_is_not_interrupted_by_the_same_signal() -> None:
    place = """
    try:
        interrupt()
    finally:
        time.sleep(1)
        print("clean", flush=True)
"""
    ended = done(WORK.format(place=place))
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "clean\n", "")


def test_a_signal_that_was_ignored_before_stays_ignored() -> None:
    ended = done(IGNORED)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_other_exceptions_that_python_drops_are_shown_as_before() -> None:
    ended = done(WORK.format(place="    Thing.__del__ = lambda self: 1 / 0; Thing(); interrupt()"))
    assert ended.returncode == 2
    assert "ZeroDivisionError" in ended.stderr
