"""Checks that the scheduler and the workers of a cluster have the same version of foal as the command."""

from distributed import Client

from ... import __version__
from ..errors import UsageError


def check_versions(client: Client, address: str) -> None:
    """Check the scheduler and its workers; those that start later check themselves, see `NamedPlugin.setup`.

    Args:
        client: a client of the scheduler.
        address: the address of the scheduler, for messages.

    Raises:
        UsageError: one of them has another version of foal, or none.
        OSError: the connection is lost.
    """

    # A nested function is sent by value, and so runs where foal is missing.
    def installed() -> str:
        from importlib import import_module

        try:
            return str(import_module("foal").__version__)
        except ImportError:
            return ""

    _check("a scheduler", "its", address, client.run_on_scheduler(installed))
    # A worker that dies meanwhile gives an OSError instead of a version.
    for found in client.run(installed, on_error="return").values():
        if isinstance(found, str):
            _check("workers", "their", address, found)


def _check(what: str, whose: str, address: str, found: str) -> None:
    if found != __version__:
        got = f"foal {found}" if found else "none"
        raise UsageError(
            f"--scheduler {address}: expected {what} with foal {__version__}, the version of this command, got {got}; "
            f"install the same foal in {whose} environment"
        )
