"""The file params.yaml and dotted keys, before anybody knows what they mean."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from ..errors import SettingsError
from ..text import quoted, shortened

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


class Section(BaseModel):
    """A part of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


MOST_BYTES = 1 << 18


MOST_NODES = 50_000


DEEPEST = 50


class PlainYamlError(Exception):
    """The text is no YAML, or more than data; says why in a line."""


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises PlainYamlError."""
    if len(text) > MOST_BYTES:
        raise PlainYamlError(f"expected {MOST_BYTES:,} characters at most, got {len(text):,}")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise PlainYamlError(str(error)) from None
    except RecursionError:
        raise PlainYamlError("it is nested too deeply") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError) as error:
        # 2024-13-45, !!int x, !!timestamp x, a number of a million digits: PyYAML lets Python's own errors through.
        raise PlainYamlError(f"a value is not what its form says ({error})") from None


def not_finite(value: Any) -> bool:
    """Whether .inf or .nan is anywhere in a parsed value."""
    if isinstance(value, dict):
        return any(not_finite(part) for part in value.values())
    if isinstance(value, list | tuple | set):
        return any(not_finite(part) for part in value)
    return isinstance(value, float) and not math.isfinite(value)


def _check(root: yaml.Node) -> None:
    """Raise PlainYamlError for what would grow when it is built, and for what means two things."""
    left, seen = [(root, 1)], 0
    while left:
        node, depth = left.pop()
        seen += 1
        line = node.start_mark.line + 1
        if depth > DEEPEST or seen + len(left) > MOST_NODES:
            raise PlainYamlError(f"line {line}: too many values, one within the other (aliases that grow?)")
        if isinstance(node, yaml.MappingNode):
            keys: set[tuple[str, str]] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if (key.tag, key.value) in keys:
                        raise PlainYamlError(
                            f"line {key.start_mark.line + 1}: the key {key.value[:100]!r} stands twice"
                        )
                    keys.add((key.tag, key.value))
                left += [(key, depth + 1), (value, depth + 1)]
        elif isinstance(node, yaml.SequenceNode):
            left += [(part, depth + 1) for part in node.value]
        elif any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in node.value):
            raise PlainYamlError(f"line {line}: expected text, got NUL or half a character")
