"""Logging of commands: messages of foal's loggers go to the console and, while a run lasts, to a log file."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .console import get_console

ROOT_LOGGER = logging.getLogger("foal")
FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _ConsoleHandler(logging.Handler):
    """Prints records through rich, so that progress bars stay intact; prefixes warnings and errors with their level."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        console = get_console()
        # --quiet suppresses results and status lines, never warnings.
        quiet = console.quiet
        console.quiet = False
        try:
            console.print(text)
        finally:
            console.quiet = quiet


def configure_logging(*, verbose: bool = False, quiet: bool = False) -> None:
    """Send the messages of foal's loggers to the console.

    Args:
        verbose: from DEBUG on instead of from INFO on.
        quiet: from WARNING on; `verbose` overrides it.
    """
    handler = _ConsoleHandler()
    if verbose:
        handler.setLevel(logging.DEBUG)
    else:
        handler.setLevel(logging.WARNING if quiet else logging.INFO)
    ROOT_LOGGER.handlers = [handler]
    ROOT_LOGGER.setLevel(logging.DEBUG)


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append the messages of foal's loggers, from DEBUG on, to a file while the block lasts."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FILE_FORMAT))
    ROOT_LOGGER.addHandler(handler)
    try:
        yield
    finally:
        ROOT_LOGGER.removeHandler(handler)
        handler.close()
