"""Command-line options made from the settings: their help, unit and default stand once, in settings.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from ..config.loading import PlainYamlError, parse_yaml
from ..config.settings import PARAMS, Settings, field_of, load_settings
from ..errors import SettingsError
from ..text import quoted, shortened


def option(key: str, *flags: str, metavar: str | None = None) -> Any:
    """A typer option that overrides the settings key `key` when it is given."""
    field = field_of(key)
    text = field.description or key
    if metavar is None and get_origin(field.annotation) is Literal:
        metavar = "|".join(map(str, get_args(field.annotation)))
    return typer.Option(
        *flags,
        help=f"{text[:1].upper()}{text[1:]} [key {key}, default: {_shown(field.default)}]",
        metavar=metavar,
        show_default=False,
    )


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    return "none" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


PARAMS_OPTION = typer.Option(
    "--params", help=f"Settings file [default: {PARAMS} where there is one]", show_default=False
)
SET_OPTION = typer.Option(
    "--set",
    metavar="KEY=VALUE",
    help="Override any settings key, for example train.epochs=20; may be repeated",
    show_default=False,
)

BREAK_LOCK_OPTION = typer.Option(
    "--break-lock", help="Take the features folder over from a run on another machine, known to be dead"
)


def settings_from(params: Path | None, assignments: Sequence[str] | None, **options: Any) -> Settings:
    """Settings with the options laid over them; option names write `__` for the dots of their keys, None: not given."""
    overrides: dict[str, Any] = {}
    for assignment in assignments or ():
        key, equals, text = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set: expected KEY=VALUE, got {quoted(assignment)}")
        try:
            overrides[key.strip()] = parse_yaml(text)
        except PlainYamlError:
            raise SettingsError(f"--set {shortened(key)}: expected a YAML value, got {quoted(text)}") from None
    overrides |= {name.replace("__", "."): value for name, value in options.items() if value is not None}
    return load_settings(params, overrides)


def comma_list(text: str | None) -> list[str] | None:
    """`a,b` as ["a", "b"]; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
