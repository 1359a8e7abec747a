"""Logging of commands: messages of the logger `foal` go to the console, and to a log file while a run lasts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .console import get_console

ROOT_LOGGER = logging.getLogger("foal")
FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _ConsoleHandler(logging.Handler):
    """Prints records through rich, so that progress bars stay intact."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        # Warnings are printed even with --quiet.
        console = get_console()
        quiet, console.quiet = console.quiet, False
        try:
            console.print(text)
        finally:
            console.quiet = quiet


def configure_logging(*, verbose: bool = False, quiet: bool = False) -> None:
    """Send the messages of foal's loggers to the console: INFO and above; `verbose`: DEBUG; `quiet`: WARNING."""
    ROOT_LOGGER.handlers = [_ConsoleHandler()]
    ROOT_LOGGER.handlers[0].setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    ROOT_LOGGER.setLevel(logging.DEBUG)
    ROOT_LOGGER.propagate = False


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Append every message of foal's loggers, DEBUG and above, to a file while the block lasts."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FILE_FORMAT))
    ROOT_LOGGER.addHandler(handler)
    try:
        yield
    finally:
        ROOT_LOGGER.removeHandler(handler)
        handler.close()
