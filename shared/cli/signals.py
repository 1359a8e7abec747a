"""Signals that end a command: Ctrl-C (SIGINT), SIGTERM and SIGHUP become a StoppedError in the main thread."""

import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_CODE_BASE = 128
"""A command that a signal ended exits with this plus the signal's number, as in a shell."""


class StoppedError(BaseException):
    """A signal ends the command. Not an Exception: code that handles failures must let it pass."""


class Stopping:
    """Raises StoppedError for the signals that end a command, and remembers the first of them in `number`."""

    def __init__(self) -> None:
        self.number: int | None = None

    def listen(self) -> None:
        """Raise StoppedError from now on; signals that are ignored (nohup, background jobs) stay ignored."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def ignore(self) -> None:
        """Ignore further signals: the process prints its last message and ends."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number
        raise StoppedError(self.number)
