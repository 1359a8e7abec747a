"""The command `foal`: its help, its messages about wrong usage, its exit codes."""

import re
import subprocess
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from foal.shared.cli.main import ORDER

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


ROOT = Path(__file__).parents[3]
NOISE = re.compile(r"<(bool|path|int|float|str|list|tuple)\b|int range|float range|\[str\]")


def commands() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(settings["project"]["entry-points"]["foal.commands"])


def test_the_overview_has_a_panel_for_every_entry_point() -> None:
    assert sorted(ORDER) == sorted(commands())


def test_the_overview_lists_the_commands_in_the_order_of_work(foal_here: Foal) -> None:
    done = foal_here("--help")
    assert done.returncode == 0
    assert [name for name in re.findall(r"^│ (\w+) ", done.stdout, flags=re.MULTILINE) if name in ORDER] == list(ORDER)
    assert not NOISE.search(done.stdout)


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("command", ORDER)
def test_the_help_of_a_command_shows_no_type_names(
    foal_here: Foal, monkeypatch: pytest.MonkeyPatch, command: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    done = foal_here(command, "--help")
    assert done.returncode == 0
    assert f"Usage: foal {command}" in done.stdout
    assert not NOISE.search(done.stdout)


def test_the_completion_of_a_shell_is_printed(foal: Foal, monkeypatch: pytest.MonkeyPatch) -> None:
    # Typer detects the shell from the parent processes, which need not be one.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = foal("--show-completion", "bash")
    assert done.returncode == 0, done.stderr
    assert "complete -o default -F _foal_completion foal" in done.stdout


def test_the_version_is_that_of_the_installed_package(foal_here: Foal) -> None:
    assert foal_here("--version").stdout == f"foal {version('foal-mer')}\n"


@pytest.mark.parametrize(
    ("name", "hint"), [("trian", "did you mean 'train'?"), ("frobnicate", f"commands are {', '.join(ORDER)}")]
)
def test_an_unknown_command_is_one_sentence_with_a_hint(foal_here: Foal, name: str, hint: str) -> None:
    done = foal_here(name)
    assert done.returncode == 2
    assert done.stderr == f"foal: there is no command '{name}'; {hint}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["extract"], 2, "foal: extract: missing option '--split' / '-s'; see `foal extract --help`"),
        (["evaluate"], 2, "evaluate: missing option '--model'"),
        (["synth"], 2, "missing argument 'OUT'"),
        (["extract", "--splits", "all"], 2, "--splits"),
        (["extract", "--split", "all"], 1, "manifests/corpus.csv: no such manifest; see `foal manifest --help`"),
        (["extract", "--split", "all", "--workers", "many"], 2, "'--workers'"),
        (["extract", "--split", "all", "--params", "none.yaml"], 2, "no such settings file"),
        (["train", "--features", "none.h5"], 1, ".h5: no such file; create it with `foal extract` or `foal index`"),
        (["train", "--modalities", "smell"], 2, "smell"),
        (["train", "--set", "train.epoch=3"], 2, "did you mean 'epochs'"),
        (["train", "--set", "epochs"], 2, "KEY=VALUE"),
        (["train", "--set", "train=3", "--epochs", "1"], 2, "settings key 'train': expected a section"),
        (["extract", "--split", "all", "--manifest", "/dev/null/x.csv"], 1, "expected a manifest"),
        (["manifest", "folder", ".", "-o", "."], 1, "expected one sub-folder per label, got none"),
        (["results", "nowhere"], 2, "expected the folder of a finished run"),
        (["manifest", "iemocap", "nowhere"], 1, "nowhere"),
        (["manifest", "klingon", "."], 2, "klingon"),
        (["verify", "nothing.h5"], 2, "nothing.h5"),
        (["inspect", "nothing.h5"], 1, ".h5: no such file; create it with `foal extract` or `foal index`"),
    ],
)
def test_a_usage_error_is_one_message(foal: Foal, arguments: list[str], code: int, message: str) -> None:
    done = foal(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.startswith("foal: ")
    assert "Traceback" not in done.stderr


def test_unknown_key_in_params_suggests_the_nearest(foal: Foal, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("extract:\n  face:\n    fsp: 10\n")
    done = foal("extract", "--split", "all")
    assert done.returncode == 2
    assert "did you mean 'fps'?" in done.stderr


def test_debug_shows_the_traceback(foal: Foal) -> None:
    assert "Traceback" in foal("--debug", "inspect", "nothing.h5").stderr
