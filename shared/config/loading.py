"""The file params.yaml and dotted keys, before anybody knows what they mean."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..text import quoted, shortened
from .plain_yaml import MOST_BYTES, PlainYamlError, not_finite, parse_yaml

DEEPEST_KEY = 6


def read_params(path: Path, *, required: bool) -> dict[str, Any]:
    """The sections of a settings file; of one that need not be there, and is not, none. Raises SettingsError."""
    try:
        if path.exists() and not path.is_file():
            raise SettingsError(f"{path}: expected a settings file, got a folder, a pipe or a device")
        if path.stat().st_size > MOST_BYTES:
            raise SettingsError(f"{path}: expected a settings file of {MOST_BYTES:,} bytes at most, got more")
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise SettingsError(f"{path}: there is no such settings file") from None
        return {}
    except (OSError, ValueError, PlainYamlError) as error:
        raise SettingsError(f"{path}: cannot be read as YAML: {shortened(str(error))}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected sections such as 'extract:', got a {type(values).__name__}")
    return values


def put(values: dict[str, Any], key: str, value: Any) -> None:
    """Lay a value over a dotted key. Raises SettingsError where there is no section."""
    *sections, last = key.split(".")
    if len(sections) > DEEPEST_KEY:
        raise SettingsError(f"unknown key {quoted(key)} in the settings")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            wanted = "expected a section with keys of its own"
            raise SettingsError(f"settings key {quoted(section)}: {wanted}, got {quoted(inner)}")
        values = inner
    values[last] = value


def check_finite(values: dict[str, Any]) -> None:
    """Raise SettingsError for .inf and .nan, which compare with bounds as no other number does."""
    for key, value in _leaves(values):
        if not_finite(value):
            raise SettingsError(f"settings key {quoted(key)}: expected finite numbers, got {quoted(value)}")


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key with a value of its own, and the value."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
