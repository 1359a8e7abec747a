"""Somebody wants the command to end: Ctrl-C, SIGTERM, or a terminal that closes (SIGHUP)."""

import signal
import sys
import weakref
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN_SECONDS = 0.1


class StoppedError(BaseException):
    """What ends the command; no Exception, so that nobody on the way takes it for a failure of theirs."""


class Stopping:
    """Turns the signals into a StoppedError, which cleans up on its way: worker processes must not outlive the command.

    Python drops what is raised inside a `__del__` or a callback of the garbage collector, and so do some libraries. The
    signal is therefore remembered in `number`, and as soon as its exception is gone, another one is raised.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._over = False
        self._raised: weakref.ref[StoppedError] | None = None
        self._hook = sys.unraisablehook

    def listen(self) -> None:
        """From now on a signal raises StoppedError in the main thread."""
        sys.unraisablehook = self._unraisable
        for number in SIGNALS:
            # `nohup` has SIGHUP ignored, a script the SIGINT of what it runs in the background: they shall stay so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def over(self) -> None:
        """Raise no more; after a signal the process only says its last words, and further ones are ignored."""
        self._over = True
        if self.number is not None:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = self._hook

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
        if not self._over:
            signal.signal(signal.SIGALRM, self._again)
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)
            self._raise()

    def _again(self, number: int, frame: FrameType | None) -> None:
        # While it travels, or a clean-up runs because of it, it is held by somebody.
        if not self._over and self._raised is not None and self._raised() is None:
            self._raise()

    def _raise(self) -> None:
        error = StoppedError(self.number)
        self._raised = weakref.ref(error)
        try:
            raise error
        finally:
            # Its traceback holds this frame.
            del error

    def _unraisable(self, dropped: Any) -> None:
        if not isinstance(dropped.exc_value, StoppedError):
            self._hook(dropped)
