"""The result of a check: a level, a text, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...shared.text import counted

Level = Literal["OK", "warning", "failure"]
STYLES: Mapping[Level, str] = {"OK": "green", "warning": "yellow", "failure": "bold red"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found.

    Attributes:
        check: its name.
        level: OK, a warning (foal works, but something is slow, missing or unusual), or a failure (a command fails).
        text: what was found.
        remedy: what to do; empty if nothing.
    """

    check: str
    level: Level
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """A finding without a problem."""
    return Finding(check=check, level="OK", text=text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """A finding that does not stop foal."""
    return Finding(check=check, level="warning", text=text, remedy=remedy)


def failure(check: str, text: str, remedy: str) -> Finding:
    """A finding that makes commands fail."""
    return Finding(check=check, level="failure", text=text, remedy=remedy)


def findings_table(findings: Sequence[Finding]) -> RenderableType:
    """One line per finding, and the remedies behind them."""
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        text = f"{finding.text}; {finding.remedy}" if finding.remedy else finding.text
        table.add_row(Text(finding.level, style=STYLES[finding.level]), Text(finding.check), Text(text))
    return Group(table, Text(verdict(findings), style="bold"))


def verdict(findings: Sequence[Finding]) -> str:
    """The number of failures and warnings in words."""
    failures, warnings = (sum(f.level == level for f in findings) for level in ("failure", "warning"))
    if not failures and not warnings:
        return "no problems found"
    return f"{counted(failures, 'failure')}, {counted(warnings, 'warning')}"


def findings_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as JSON values, and whether there is no failure."""
    return {
        "passed": not any(finding.level == "failure" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }
