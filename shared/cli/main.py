"""The `foal` command: finds its subcommands by entry point and imports only the one that is called."""

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from ..config.renamed import RENAMED_OPTIONS
from ..errors import FoalError, UsageError
from .console import start_console
from .logs import configure_logging
from .signals import StoppedError, Stopping

COMMANDS = "foal.commands"
GLOBAL_FLAGS = ("--debug", "--verbose", "--quiet")
# In the order of work; tests compare them with the entry points of pyproject.toml.
PANELS = {
    "Corpus": ("synth", "corpus", "manifest"),
    "Features": ("extract", "import", "index", "inspect", "verify", "clean"),
    "Training": ("train", "ablate", "evaluate", "results"),
}
ORDER = tuple(name for names in PANELS.values() for name in names)
PRINTING = ("click", "rich", "typer")
"""The packages that write to standard output for us."""


class _Commands(TyperGroup):
    """A group whose commands live elsewhere."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = _entry_points()
        return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args[0] not in known:
            near = difflib.get_close_matches(args[0], known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"commands are {', '.join(known)}"
            raise UsageError(f"there is no command '{args[0]}'; {hint}")
        _check_renamed(args)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = _entry_points().get(cmd_name)
        if found is None:
            return None
        target = found.load()
        app = target if isinstance(target, typer.Typer) else _single(target)
        command = typer.main.get_command(app)
        command.name = cmd_name
        panel = next((panel for panel, names in PANELS.items() if cmd_name in names), "Other")
        vars(command)["rich_help_panel"] = panel  # Typer reads it; Click does not declare it.
        return command


def _check_renamed(args: list[str]) -> None:
    """Raise UsageError for an option of an earlier version, with its new name."""
    renamed = RENAMED_OPTIONS.get(args[0], {})
    for argument in args[1:]:
        option = argument.partition("=")[0]
        if option in renamed:
            raise UsageError(f"{args[0]}: option {option} was renamed to {renamed[option]}")


def _single(function: Any) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command()(function)
    return app


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=COMMANDS)}


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
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
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks. Works with every command, like the next two."),
    verbose: bool = typer.Option(False, "--verbose", help="Log more."),
    quiet: bool = typer.Option(False, "--quiet", help="Print only warnings, errors and --json."),
) -> None:
    """Audio-visual emotion recognition: extract features once, train small heads from them in minutes.

    Settings come from params.yaml in the working folder; every option overrides its key there.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; a FoalError becomes one message and its exit code, a signal 128 and its number."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug, verbose, quiet = (flag in arguments for flag in GLOBAL_FLAGS)
    start_console(quiet=quiet)
    configure_logging(verbose=verbose, quiet=quiet)
    stopping = Stopping()
    try:
        try:
            stopping.listen()
            _call([argument for argument in arguments if argument not in GLOBAL_FLAGS])
        finally:
            stopping.over()
    except BaseException as error:
        # A signal may come just before the clause above begins.
        stopping.over()
        if stopping.number is not None:
            if debug and not isinstance(error, StoppedError | SystemExit):
                traceback.print_exception(error)
            _say("stopped; what was finished stays, the same command goes on from there")
            _leave(128 + stopping.number)
        if isinstance(error, BrokenPipeError):
            # The reader of our output (`| head`) has gone; nobody is left to tell.
            _leave(1)
        on_bytes = error if isinstance(error, FoalError) else _translated(error)
        if on_bytes is None or debug:
            raise
        _say(str(on_bytes))
        _leave(on_bytes.exit_code)


def _call(arguments: list[str]) -> None:
    try:
        app(arguments, prog_name="foal")
    except SystemExit:
        # At the exit of the interpreter it would be too late to say that it cannot be written.
        if sys.stdout is not None:
            sys.stdout.flush()
        raise


def _say(text: str) -> None:
    # Imported late: it brings rich with it.
    from ..text import escape_control_characters

    # The terminal may be gone, or the disk full that takes the errors.
    with suppress(OSError):
        typer.echo(f"foal: {escape_control_characters(text)}", err=True)


def _leave(code: int) -> NoReturn:
    """Exit; what standard output does not take any more is given up, which the interpreter would complain about."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _translated(error: BaseException) -> FoalError | None:
    """What other libraries raise wherever they are used, as an error of ours."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [frame.f_globals.get("__name__", "") for frame in frames]
    if isinstance(error, OSError) and error.filename is None:
        if modules[-1] == __name__ or modules[-1].partition(".")[0] in PRINTING:
            return FoalError(
                f"standard output cannot be written ({error}); what was finished stays, the same command goes on from "
                "there once its output has a place to go"
            )
    elif isinstance(error, Exception) and not isinstance(error, ImportError):
        # Dask reads its configuration when it is imported, and a slip in it comes out there.
        imported = [module for module, frame in zip(modules, frames, strict=True) if frame.f_code.co_name == "<module>"]
        if imported and imported[-1].partition(".")[0] in ("dask", "distributed"):
            return UsageError(
                f"expected a configuration that Dask can read, got {type(error).__name__}: {error}\n"
                "mend its files (in $DASK_CONFIG, ~/.config/dask or /etc/dask) or the variables named DASK_..."
            )
    return None
