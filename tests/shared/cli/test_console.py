"""Text from untrusted files reaches the terminal without its control characters."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from foal.shared.cli.console import count_table, start_console
from foal.shared.manifest import write_manifest
from foal.shared.store.catalog import shard_folder
from foal.shared.store.shard import Entry, ShardHeader, ShardWriter
from foal.shared.utterance import Utterance

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r"
ESCAPED = r"\x1b]0;owned\x07\x1b[2J\x9b31m\r"


@pytest.mark.parametrize("kind", [str, Text])
def test_lines_and_tables_show_escaped_control_characters(
    capsys: pytest.CaptureFixture[str], kind: Callable[[str], str | Text]
) -> None:
    console = start_console()
    table = Table("name", "other", title=EVIL)
    table.add_row("[bold]" + EVIL, "x")
    for part in (EVIL, table, kind(EVIL)):
        console.print(part)
    printed = capsys.readouterr().out
    escaped = ESCAPED if kind is str else ESCAPED.replace(r"\x07", "").replace(r"\r", "")  # rich removes these itself
    assert "[bold]" + ESCAPED in printed
    assert escaped in printed
    assert not set(printed) & set(EVIL) - set(ESCAPED)
    # Column widths are computed from the escaped text: all border lines have the same length.
    assert len({len(line) for line in printed.splitlines() if line[0] in "┏┃┡│└"}) == 1


def test_a_terminal_keeps_its_colours_and_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    console = start_console()
    assert console.is_terminal
    console.print(EVIL, style="bold")
    assert capsys.readouterr().out == f"\x1b[1m{ESCAPED}\x1b[0m\n"
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        progress.add_task(EVIL, total=1)
    printed = capsys.readouterr().out
    assert "\x1b[?25l" in printed  # the cursor is hidden while the bar is shown
    assert "\x1b]0;owned" not in printed
    assert r"\x1b]0;owned" in printed


def test_control_characters_in_a_shard_are_escaped(
    foal_here: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    utterance = Utterance(id="u", corpus="c", label=EVIL.strip(), audio="a.wav")
    write_manifest(tmp_path / "m.csv", [utterance])
    header = ShardHeader(
        modality="audio",
        config_hash="a" * 64,
        rate_hz=50.0,
        encoder=EVIL,
        revision="",
        weights="0",
        random_weights=False,
        config={"provenance": "imported", "name": EVIL},
    )
    with ShardWriter(
        shard_folder(tmp_path / "features", "c", "audio", "a" * 64) / "x.h5", header, dtype="float16"
    ) as writer:
        writer.add(
            Entry(
                id="u",
                values=np.ones((2, 3), np.float32),
                valid=np.ones(2, bool),
                origin=0.0,
                source=utterance.source("audio"),
                media="",
            )
        )
    indexed = foal_here("index", "-m", "m.csv", "--streams", "audio")
    inspected = foal_here("inspect")
    for result in (indexed, inspected):
        assert result.returncode == 0, result.stderr
        assert ESCAPED in result.stdout
        assert not set(result.stdout) & set("\x1b\x07\x9b\r")
    assert f"named {ESCAPED}" in indexed.stdout


def test_a_count_table_contains_the_sums_of_rows_and_columns() -> None:
    rows = {"session1": [1, 2], "session2": [3, 4]}
    table = count_table("session", ["hap", "sad"], rows, total=True)
    columns = [list(column.cells) for column in table.columns]
    assert columns == [["session1", "session2", "all"], ["1", "3", "4"], ["2", "4", "6"], ["3", "7", "10"]]
    assert len(count_table("session", ["hap", "sad"], rows, total=False).rows) == 2
