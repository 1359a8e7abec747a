"""File names in either Unicode form: `é` may be one character (NFC) or two (NFD), and both name the same file."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path


def nfc(text: str) -> str:
    """Text in Unicode form NFC, in which ids and paths are compared."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def nfc_each(texts: Sequence[str]) -> Sequence[str]:
    """Texts in Unicode form NFC; one look tells whether all are ASCII, as nearly always."""
    return texts if "".join(texts).isascii() else list(map(nfc, texts))


def spelled_on_disk(root: Path, media: str) -> str:
    """A path below `root` in the Unicode form in which the file exists.

    macOS and some archives write names in NFD, most other programs in NFC.

    Args:
        root: the corpus root.
        media: the path relative to it.

    Returns:
        The path as it is on the disk; `media` unchanged if there is no such file in any form.
    """
    if media.isascii() or os.path.lexists(os.path.join(root, media)):
        return media
    for spelled in (unicodedata.normalize("NFC", media), unicodedata.normalize("NFD", media)):
        if os.path.lexists(os.path.join(root, spelled)):
            return spelled
    # The folders may be written in one form and the file in the other; HFS+ has a decomposition of its own.
    found: list[str] = []
    for part in Path(media).parts:
        name = _name_in(os.path.join(root, *found), part)
        if name is None:
            return media
        found.append(name)
    return os.path.join(*found)


def locate(root: Path, media: str) -> Path:
    """The file of a manifest's path, in the Unicode form in which it exists; see `spelled_on_disk`."""
    return root / spelled_on_disk(root, media)


def _name_in(folder: str, name: str) -> str | None:
    """The entry of a folder that equals `name` in NFC; None without one."""
    if name.isascii() or os.path.lexists(os.path.join(folder, name)):
        return name
    try:
        entries = sorted(os.listdir(folder))
    except (OSError, ValueError):
        return None
    return next((entry for entry in entries if nfc(entry) == nfc(name)), None)
