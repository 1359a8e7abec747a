"""The rule for existing outputs: foal replaces its own outputs, and any other file only with --force."""

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import UsageError

FORCE_REMEDY = "choose another path, or replace it with --force"


def check_overwrite(
    path: Path, *, kind: str, is_ours: Callable[[Path], bool], force: bool = False, remedy: str = FORCE_REMEDY
) -> None:
    """Raise UsageError if `path` exists, foal did not write it, and `force` is not given.

    Args:
        path: the output that a command is about to write.
        kind: what foal writes there, for the message ("a manifest", "a feats.h5").
        is_ours: whether the existing file or folder is such an output; called only if it exists.
        force: replace it in any case.
        remedy: what to do instead, where the command has no --force or the path cannot be chosen.
    """
    if os.path.lexists(path) and not force and not is_ours(path):
        raise UsageError(f"{path}: exists and is not {kind}; {remedy}")
