"""YAML that is data and nothing else: no tags of Python, no key twice, no aliases that grow without bound."""

import math
from typing import Any

import yaml

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
