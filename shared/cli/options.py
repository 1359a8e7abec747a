"""Command-line options generated from settings keys: type, help and default are declared once, in shared/config.

A command lists the settings keys that it exposes; the decorator adds the options, loads the settings and passes them:

    @with_settings(manifest="corpus.manifest", epochs="train.epochs", out=setting("index", "--out", "-o"))
    def command(*, settings: Settings, pack: Annotated[bool, typer.Option("--pack", help="...")] = False) -> None: ...

Every option overrides its key of params.yaml. `--params` and `--set` are added to each command.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from ..config.loading import YamlError, parse_yaml
from ..config.settings import PARAMS, Settings, load_settings, settings_field
from ..errors import SettingsError
from ..text import quoted, shortened

PANELS = {
    "corpus": "Corpus",
    "synth": "Synthetic corpus",
    "cluster": "Workers and devices",
    "extract.audio": "Audio encoder",
    "extract.face": "Face encoder",
    "extract.text": "Text encoder",
    "extract": "Extraction",
    "index": "Input and output",
    "train": "Training",
}
"""Help panel by the longest matching prefix of a key."""

COMMON_PANEL = "Settings"
MAX_METAVAR = 24

BREAK_LOCK_OPTION = typer.Option(
    "--break-lock", help="Take over the lock of the features folder from a run on another machine that has ended"
)
FORCE_OPTION = typer.Option("--force", help="Replace an existing output even if foal did not write it")
JSON_OPTION = typer.Option("--json", help="Print the result as one JSON object on the last line")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A settings key exposed as an option, or as a positional argument."""

    key: str
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    argument: bool = False


def setting(key: str, *flags: str, metavar: str | None = None, argument: bool = False) -> Setting:
    """Expose the settings key `key`; without flags the option is named after the parameter."""
    return Setting(key=key, flags=flags, metavar=metavar, argument=argument)


def with_settings(**exposed: str | Setting) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command so that it has one option per settings key and is called with the loaded `settings`.

    The command takes `settings: Settings` and, if it declares it, `given: frozenset[str]`, the keys that options set.
    Its other parameters stay as they are.

    Args:
        exposed: parameter name to settings key ("train.epochs") or to `setting(...)`.

    Raises:
        KeyError: when the module is imported, for an unknown key.
    """
    specs = {name: setting(spec) if isinstance(spec, str) else spec for name, spec in exposed.items()}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.name not in ("settings", "given")]
        arguments = [_parameter(name, spec) for name, spec in specs.items() if spec.argument]
        options = [_parameter(name, spec) for name, spec in specs.items() if not spec.argument]
        parameters = [*arguments, *own, *options, *_COMMON]

        @functools.wraps(function)
        def command(**values: Any) -> None:
            params, assignments = values.pop("params"), values.pop("assignments")
            overrides: dict[str, Any] = {}
            for name, spec in specs.items():
                value = values.pop(name)
                if value is not None:
                    overrides[spec.key] = _parse_value(spec.key, value)
            settings = settings_from(params, assignments or (), overrides)
            if "given" in signature.parameters:
                values["given"] = frozenset(overrides)
            function(settings=settings, **values)

        keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        # Typer reads both.
        command.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def settings_from(params: Path | None, assignments: Sequence[str], overrides: Mapping[str, Any]) -> Settings:
    """Load the settings of a command; later sources override earlier ones.

    Args:
        params: settings file; None: params.yaml if it exists.
        assignments: `KEY=VALUE` texts of --set, the values in YAML.
        overrides: dotted key to value, from options.

    Raises:
        SettingsError: the file or a value is invalid.
    """
    return load_settings(params, _parse_assignments(assignments) | dict(overrides))


def comma_list(text: str | None) -> list[str] | None:
    """Split `a,b` into ["a", "b"]; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _parameter(name: str, spec: Setting) -> inspect.Parameter:
    """The typer parameter of a setting; its default None means "not given"."""
    field = settings_field(spec.key)
    kind = _option_type(field.annotation)
    shared: dict[str, Any] = {
        "help": _help(spec.key, field.description or spec.key, field.default),
        "metavar": spec.metavar or (None if spec.argument else _metavar(field.annotation)),
        "show_default": False,
        "rich_help_panel": None if spec.argument else _panel(spec.key),
    }
    flag = f"--{name.replace('_', '-')}"
    flags = spec.flags or ((f"{flag}/--no-{flag[2:]}",) if kind is bool else (flag,))
    declared = typer.Argument(**shared) if spec.argument else typer.Option(*flags, **shared)
    optional: Any = kind | None
    annotation: Any = Annotated[optional, declared]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _members(annotation: Any) -> list[Any]:
    """The members of a union other than None; of another type, itself."""
    if get_origin(annotation) in (Union, UnionType):
        return [member for member in get_args(annotation) if member is not NoneType]
    return [annotation]


def _option_type(annotation: Any) -> type:
    """The type that typer parses: bool, int, float, Path, or str for everything that foal parses itself."""
    members = _members(annotation)
    return members[0] if len(members) == 1 and members[0] in (bool, int, float, Path) else str


def _help(key: str, text: str, default: Any) -> str:
    return f"{text[:1].upper()}{text[1:]} (key {key}, default: {_format_default(default)})"


def _metavar(annotation: Any) -> str | None:
    """The choices of a Literal, A,B,... for a list; None leaves the metavar to the type."""
    members = _members(annotation)
    choices = [str(choice) for member in members if get_origin(member) is Literal for choice in get_args(member)]
    if any(get_origin(member) is tuple for member in members):
        choices.append("A,B,...")
    text = "|".join(choices)
    # Long lists of choices would squeeze the column of the descriptions, which name them as well.
    return (text or None) if len(text) <= MAX_METAVAR else "NAME"


def _panel(key: str) -> str:
    prefix = key
    while prefix not in PANELS:
        prefix = prefix.rpartition(".")[0]
    return PANELS[prefix]


def _parse_value(key: str, value: Any) -> Any:
    """A comma list for keys that hold several values; a single word stays a word where the key allows one."""
    members = _members(settings_field(key).annotation)
    if not isinstance(value, str) or not any(get_origin(member) is tuple for member in members):
        return value
    return value if len(members) > 1 and value.isalpha() else comma_list(value)


def _format_default(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    if default is None:
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)


def _parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """The overrides of `--set KEY=VALUE`. Raises SettingsError."""
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set: expected KEY=VALUE, got {quoted(assignment)}")
        try:
            value = parse_yaml(text)
        except YamlError:
            raise SettingsError(f"--set {shortened(key)}: expected a YAML value, got {quoted(text)}") from None
        with suppress(KeyError):  # an unknown key is reported with the others
            value = _parse_value(key.strip(), value)
        overrides[key.strip()] = value
    return overrides


_COMMON = [
    inspect.Parameter(
        "params",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            Path | None,
            typer.Option(
                "--params",
                metavar="FILE",
                help=f"Settings file (default: {PARAMS} if it exists)",
                show_default=False,
                rich_help_panel=COMMON_PANEL,
            ),
        ],
    ),
    inspect.Parameter(
        "assignments",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            list[str] | None,
            typer.Option(
                "--set",
                metavar="KEY=VALUE",
                help="Override any settings key, for example train.epochs=20; may be repeated",
                show_default=False,
                rich_help_panel=COMMON_PANEL,
            ),
        ],
    ),
]
