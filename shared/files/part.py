"""A part of a corpus, `--part I/N`: several jobs share an extraction without a scheduler; each has its own files."""

import re
from dataclasses import dataclass
from pathlib import Path

import xxhash

from ..errors import UsageError
from ..text import quoted

_FILE = re.compile(r"(.+)\.part-([1-9][0-9]{0,5})-of-([1-9][0-9]{0,5})(\.[a-z]+)")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Part `number` of `count`, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Parse `I/N`. Raises UsageError that names the valid form."""
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"--part: expected I/N with I from 1 to N, such as 2/4, got {quoted(text)}")
        return cls(number=int(match[1]), count=int(match[2]))

    def holds(self, name: str) -> bool:
        """Whether a name (in Unicode form NFC) belongs to this part: its hash decides, whatever other names exist."""
        return xxhash.xxh3_64_intdigest(name.encode()) % self.count == self.number - 1


def part_name(name: str, part: Part | None) -> str:
    """The name of a part's own file, such as `failures.part-2-of-4.csv`; None: the file of the whole."""
    if part is None:
        return name
    path = Path(name)
    return f"{path.stem}.part-{part.number}-of-{part.count}{path.suffix}"


def split_part_name(name: str) -> tuple[str, Part | None]:
    """The inverse of `part_name`."""
    match = _FILE.fullmatch(name)
    if match is None:
        return name, None
    return match[1] + match[4], Part(number=int(match[2]), count=int(match[3]))


def part_files(folder: Path, name: str) -> dict[Path, Part]:
    """The files in a folder that parts have in place of the file `name`, sorted by name."""
    found = {path: split_part_name(path.name) for path in sorted(folder.glob(f"{Path(name).stem}.part-*"))}
    return {path: part for path, (whole, part) in found.items() if whole == name and part is not None}
