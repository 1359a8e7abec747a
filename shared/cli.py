"""The `foal` command: finds its subcommands by entry point and imports only the one that is called."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import typer
from typer.core import TyperGroup

from .errors import FoalError

COMMANDS = "foal.commands"
# In the order in which they are used; a command from another package comes after these.
ORDER = ("synth", "corpus", "manifest", "extract", "import", "index", "inspect", "verify", "clean", "train", "results")


class _Commands(TyperGroup):
    """A group whose commands live elsewhere."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = _entry_points()
        return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = _entry_points().get(cmd_name)
        if found is None:
            return None
        target = found.load()
        app = target if isinstance(target, typer.Typer) else _single(target)
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command


def _single(function: Any) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(function)
    return app


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=COMMANDS)}


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"foal {version('foal-mer')}")
        raise typer.Exit


@app.callback()
def _foal(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks."),
) -> None:
    """Audio-visual emotion recognition: extract features once, train Foal-Net heads from them in minutes.

    Settings come from params.yaml in this folder; every option overrides its key there.
    """


class _StoppedError(BaseException):
    """Somebody wants the command to end; no Exception, so that nobody on the way takes it for a failure of theirs."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, frame: object) -> None:
    raise _StoppedError(number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; a FoalError becomes one message and its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    # Asked to end, a command cleans up: its worker processes must not outlive it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        app([argument for argument in arguments if argument != "--debug"], prog_name="foal")
    except FoalError as error:
        if debug:
            raise
        typer.echo(f"foal: {error}", err=True)
        sys.exit(error.exit_code)
    except _StoppedError as stopped:
        typer.echo("foal: stopped; what was finished stays, the same command goes on from there", err=True)
        sys.exit(128 + stopped.number)
    except BrokenPipeError:
        # The reader of our output (`| head`) has gone; nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
