"""Reading params.yaml (YAML 1.2, as DVC reads it), checks of its values, and the base class of all sections."""

import difflib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..errors import FoalError, SettingsError
from ..text import quoted, shortened
from .renamed import RENAMED_KEYS


class Section(BaseModel):
    """A section of params.yaml: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class YamlError(Exception):
    """The text is not valid YAML; the message has one line."""


def parse_yaml(text: str) -> Any:
    """Parse a YAML 1.2 text as DVC does: `1e-4` is a number, `yes` is text. Raises YamlError."""
    # Imported late: `--help` reads no settings file.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise YamlError(f"{where}{str(error.problem or error.context).partition(chr(10))[0]}") from None
    except (YAMLError, ValueError) as error:
        raise YamlError(str(error).partition("\n")[0]) from None


def read_params(path: Path, *, required: bool) -> dict[str, Any]:
    """Read the sections of a settings file; an absent file that is not required has none. Raises SettingsError."""
    try:
        if path.exists() and not path.is_file():
            raise SettingsError(f"{path}: expected a settings file, got a folder or a device")
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise FoalError(f"{path}: no such settings file") from None
        return {}
    except (OSError, ValueError, YamlError) as error:
        raise SettingsError(f"{path}: cannot be read as YAML: {shortened(str(error))}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected sections such as 'extract:', got a {type(values).__name__}")
    return values


def set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key such as `extract.face.fps` in place. Raises SettingsError if a section on the way is a value."""
    *sections, last = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"settings key {quoted(section)}: expected a section with keys, got {quoted(inner)}")
        values = inner
    values[last] = value


def check_renamed(values: dict[str, Any]) -> None:
    """Raise SettingsError for a key of an earlier version, with the new name."""
    for key, value in _leaves(values):
        parent = key
        while parent and parent not in RENAMED_KEYS:
            parent = parent.rpartition(".")[0]
        if parent:
            raise SettingsError(f"settings key '{parent}' was renamed to '{RENAMED_KEYS[parent]}'")
        if key.startswith("extract.streams.") or (key == "extract.streams" and value == {}):
            raise SettingsError("settings key 'extract.streams': the mapping was renamed to 'extract.encoders'")


def check_finite(values: dict[str, Any]) -> None:
    """Raise SettingsError for .inf and .nan, which satisfy bounds in unexpected ways."""
    for key, value in _leaves(values):
        if _not_finite(value):
            raise SettingsError(f"settings key {quoted(key)}: expected finite numbers, got {quoted(value)}")


def explain_error(detail: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Put a validation error of pydantic into one line.

    Args:
        detail: one item of `ValidationError.errors()`.
        model: the validated model, to name the known keys.
    """
    location = [str(part) for part in detail["loc"]]
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    # Pydantic adds the members of a union to the key.
    key = ".".join(part for part in location if not part.startswith(("literal[", "tuple[")))
    if detail["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key '{key}' in the settings; {hint}"
    if detail["type"] == "tuple_type":
        return f"settings key '{key}': expected a list such as [A, B], got {quoted(detail['input'])}"
    return f"settings key '{key}': {detail['msg'][:1].lower()}{detail['msg'][1:]}, got {quoted(detail['input'])}"


def _known_keys(model: type[BaseModel], sections: list[str]) -> list[str]:
    for section in sections:
        inner = model.model_fields[section].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return list(model.model_fields)


def _not_finite(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_not_finite(part) for part in value)
    return isinstance(value, float) and not math.isfinite(value)


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key that holds a value, and the value."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
