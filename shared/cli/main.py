"""The `foal` command: its subcommands are entry points, and only the one that is called is imported."""

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from ..config.renamed import RENAMED_OPTIONS
from ..errors import FoalError, UsageError
from ..text import escape_control_characters
from .console import start_console
from .logs import configure_logging
from .signals import EXIT_CODE_BASE, StoppedError, Stopping

ENTRY_POINT_GROUP = "foal.commands"
GLOBAL_FLAGS = ("--debug", "--verbose", "--quiet")
# In the order of work; tests compare them with the entry points of pyproject.toml.
PANELS = {
    "Project": ("init", "doctor"),
    "Corpus": ("synth", "corpus", "manifest"),
    "Features": ("extract", "import", "export-features", "index", "inspect", "verify", "clean"),
    "Training": ("train", "tune", "ablate", "evaluate", "results", "report", "runs", "compare"),
    "Models": ("predict", "export"),
    "Pipeline": ("code-hash",),
}
ORDER = tuple(name for names in PANELS.values() for name in names)
OUTPUT_LIBRARIES = ("click", "rich", "typer")
"""The packages through which foal writes to standard output."""

_CommandLineError: Any = typer.BadParameter.__mro__[1]
"""Click's UsageError (a missing option, an invalid value), which Typer does not export."""

METAVARS = {"<bool>": "", "<int>": "N", "<float>": "NUMBER", "<path>": "PATH", "<str>": "TEXT"}
"""What help shows for a value, by Typer's name of its type; a flag has none."""


class _Command(TyperCommand):
    """A command whose help names values as in PATH, and flags without a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _with_metavars(super().get_params(ctx), ctx)


class _Commands(TyperGroup):
    """The group of all commands: each is an entry point, imported when it is called."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _with_metavars(super().get_params(ctx), ctx)

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
        point = _entry_points().get(cmd_name)
        if point is None:
            return None
        command_app = typer.Typer(add_completion=False, rich_markup_mode="rich")
        panel = next((panel for panel, names in PANELS.items() if cmd_name in names), "Other")
        command_app.command(cmd_name, cls=_Command)(point.load())
        command = typer.main.get_command(command_app)
        vars(command)["rich_help_panel"] = panel  # Typer reads it; Click does not declare it.
        return command


def _with_metavars(params: list[Any], ctx: Any) -> list[Any]:
    """The parameters with a metavar each: their own, or one for their type."""
    for param in params:
        if param.param_type_name == "argument":
            param.metavar = param.metavar or param.name.upper()
            # Typer shows the type of an argument next to its name.
            vars(param)["display_type_rich"] = lambda ctx: None
        elif param.metavar is None:
            param.metavar = METAVARS.get(param.display_type(ctx))
    return params


def _check_renamed(args: list[str]) -> None:
    """Raise UsageError for an option of an earlier version, with its new name."""
    command, *arguments = args
    renamed = RENAMED_OPTIONS.get(command, {})
    for argument in arguments:
        option = argument.partition("=")[0]
        if option in renamed:
            raise UsageError(f"{command}: option {option} was renamed to {renamed[option]}")


def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


app = typer.Typer(
    cls=_Commands,
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
    debug: bool = typer.Option(
        False,
        "--debug",
        help="Show tracebacks. --debug, --verbose and --quiet are accepted anywhere on the command line.",
    ),
    verbose: bool = typer.Option(False, "--verbose", help="Print debug messages as well."),
    quiet: bool = typer.Option(False, "--quiet", help="Print only warnings, errors and the output of --json."),
) -> None:
    """Audio-visual emotion recognition: extract features once, train small heads on them in minutes.

    Settings come from params.yaml in the working folder; every option overrides its key there.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit.

    A FoalError becomes one message and its exit code; a signal becomes exit code 128 plus its number.
    """
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
            stopping.ignore()
    except BaseException as error:
        # A second signal may arrive before the clause above begins.
        stopping.ignore()
        if stopping.number is not None:
            if debug and not isinstance(error, StoppedError | SystemExit):
                traceback.print_exception(error)
            _print_error("stopped; finished work is kept, rerun the same command to resume")
            _exit(EXIT_CODE_BASE + stopping.number)
        if isinstance(error, BrokenPipeError):
            # The reader of the output (`| head`) is gone; a message would not reach it.
            _exit(1)
        foal_error = error if isinstance(error, FoalError) else _translated(error)
        if foal_error is None or debug:
            raise
        _print_error(str(foal_error))
        _exit(foal_error.exit_code)


def _call(arguments: list[str]) -> NoReturn:
    try:
        sys.exit(app(arguments or ["--help"], prog_name="foal", standalone_mode=False) or 0)
    except _CommandLineError as error:
        path = error.ctx.command_path if error.ctx else "foal"
        command = f"{path.partition(' ')[2]}: " if " " in path else ""
        message = error.format_message().rstrip(".")
        raise UsageError(f"{command}{message[:1].lower()}{message[1:]}; see `{path} --help`") from error
    except SystemExit:
        # Flush now: when the interpreter exits, it is too late to report that the output cannot be written.
        if sys.stdout is not None:
            sys.stdout.flush()
        raise


def _print_error(text: str) -> None:
    # The terminal may be closed, or the disk full to which the messages are redirected.
    with suppress(OSError):
        typer.echo(f"foal: {escape_control_characters(text)}", err=True)


def _exit(code: int) -> NoReturn:
    """Exit; output that cannot be written any more is dropped, since the interpreter would complain about it."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _translated(error: BaseException) -> FoalError | None:
    """The FoalError for errors of other libraries that can occur in any command, else None."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [frame.f_globals.get("__name__", "") for frame in frames]
    if isinstance(error, OSError) and error.filename is None:
        if modules[-1] == __name__ or modules[-1].partition(".")[0] in OUTPUT_LIBRARIES:
            return FoalError(
                f"standard output cannot be written ({error}); finished work is kept: redirect the output to a "
                "writable location, then rerun the same command to resume"
            )
    elif isinstance(error, Exception) and not isinstance(error, ImportError):
        # Dask reads its configuration when it is imported, and an error in it is raised there.
        imported = [module for module, frame in zip(modules, frames, strict=True) if frame.f_code.co_name == "<module>"]
        if imported and imported[-1].partition(".")[0] in ("dask", "distributed"):
            return UsageError(
                f"the Dask configuration cannot be read ({type(error).__name__}: {error})\n"
                "correct the files in $DASK_CONFIG, ~/.config/dask and /etc/dask, or the variables named DASK_..."
            )
    return None
