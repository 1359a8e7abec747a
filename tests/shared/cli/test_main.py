"""The `foal` command: help, usage errors and exit codes."""

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
TYPE_NAMES = re.compile(r"<(bool|path|int|float|str|list|tuple)\b|int range|float range|\[str\]")


def commands() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(settings["project"]["entry-points"]["foal.commands"])


def test_the_overview_has_a_panel_for_every_entry_point() -> None:
    assert sorted(ORDER) == sorted(commands())


def test_the_overview_lists_the_commands_in_workflow_order(foal_here: Foal) -> None:
    result = foal_here("--help")
    assert result.returncode == 0
    assert [name for name in re.findall(r"^│ ([\w-]+) ", result.stdout, flags=re.MULTILINE) if name in ORDER] == list(
        ORDER
    )
    assert not TYPE_NAMES.search(result.stdout)


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("command", ORDER)
def test_the_help_of_a_command_shows_no_type_names(
    foal_here: Foal, monkeypatch: pytest.MonkeyPatch, command: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    result = foal_here(command, "--help")
    assert result.returncode == 0
    assert f"Usage: foal {command}" in result.stdout
    assert not TYPE_NAMES.search(result.stdout)


def test_the_shell_completion_script_is_printed(foal: Foal, monkeypatch: pytest.MonkeyPatch) -> None:
    # Typer detects the shell from the parent processes, which may not include a shell.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    result = foal("--show-completion", "bash")
    assert result.returncode == 0, result.stderr
    assert "complete -o default -F _foal_completion foal" in result.stdout


def test_the_version_is_that_of_the_installed_package(foal_here: Foal) -> None:
    assert foal_here("--version").stdout == f"foal {version('foal-mer')}\n"


@pytest.mark.parametrize(
    ("name", "hint"), [("trian", "did you mean 'train'?"), ("frobnicate", f"commands are {', '.join(ORDER)}")]
)
def test_an_unknown_command_is_refused_with_one_sentence_and_a_hint(foal_here: Foal, name: str, hint: str) -> None:
    result = foal_here(name)
    assert result.returncode == 2
    assert result.stderr == f"foal: there is no command '{name}'; {hint}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["extract"], 2, "foal: extract: missing option '--split' / '-s'; see `foal extract --help`"),
        (["evaluate"], 2, "evaluate: missing option '--model'"),
        (["synth"], 2, "missing argument 'OUT'"),
        (["extract", "--splits", "all"], 2, "--splits"),
        (["extract", "--split", "all"], 1, "manifests/corpus.csv: no such manifest; see `foal manifest --help`"),
        (["extract", "--split", "all", "--workers", "many"], 2, "'--workers'"),
        (["extract", "--split", "all", "--params", "none.yaml"], 1, "no such settings file"),
        (["train", "--features", "none.h5"], 1, ".h5: no such file; create it with `foal extract` or `foal index`"),
        (["train", "--modalities", "smell"], 2, "smell"),
        (["train", "--set", "train.epoch=3"], 2, "did you mean 'epochs'"),
        (["train", "--set", "epochs"], 2, "KEY=VALUE"),
        (["train", "--set", "train=3", "--epochs", "1"], 2, "settings key 'train': expected a section"),
        (["extract", "--split", "all", "--manifest", "/dev/null/x.csv"], 1, "expected a manifest"),
        (["manifest", "folder", ".", "-o", "."], 1, "expected one sub-folder per label, got none"),
        (["results", "nowhere"], 1, "nowhere: no such run"),
        (["manifest", "iemocap", "nowhere"], 1, "nowhere"),
        (["manifest", "klingon", "."], 2, "klingon"),
        (["verify", "nothing.h5"], 1, "nothing.h5"),
        (["verify"], 1, "features: expected a feats.h5, a shard or a folder of shards, but there is no such file"),
        (["evaluate", "--model", "nowhere"], 1, "nowhere: expected the folder of a finished `foal train`"),
        (["results", "--against", "nowhere"], 1, "runs/main: no such run"),
        (["runs"], 1, "runs: no such folder"),
        (["compare", "a", "b"], 1, "a: no such run"),
        (["tune"], 1, "feats.h5: no such file"),
        (["ablate"], 1, "feats.h5: no such file"),
        (["index"], 1, "manifests/corpus.csv: no such manifest"),
        (["clean"], 1, "manifests/corpus.csv: no such manifest"),
        (["corpus", "--kind", "iemocap", "--root", "nowhere"], 1, "nowhere: expected the iemocap corpus"),
        (["import", "--audio", "nowhere", "-o", "out"], 1, "--audio: nowhere: no such folder"),
        (
            ["import", "--audio", "no.npz", "--format", "mmsa", "-o", "out"],
            1,
            "no.npz: expected an .npz file",
        ),
        (["import", "--audio", "nowhere", "--format", "datasets", "-o", "out"], 1, "--audio: nowhere: no such folder"),
        (["manifest", "cremad", "."], 1, "got none with the labels neu, hap, sad, ang, fea, dis"),
        (["inspect", "nothing.h5"], 1, ".h5: no such file; create it with `foal extract` or `foal index`"),
    ],
)
def test_a_usage_error_is_reported_without_a_traceback(
    foal_here: Foal, arguments: list[str], code: int, message: str
) -> None:
    result = foal_here(*arguments)
    assert result.returncode == code
    assert message in result.stderr
    assert result.stderr.startswith("foal: ")
    assert "Traceback" not in result.stderr


def test_an_unknown_key_in_params_is_refused_with_the_nearest_key(foal_here: Foal, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("extract:\n  face:\n    fsp: 10\n")
    result = foal_here("extract", "--split", "all")
    assert result.returncode == 2
    assert "did you mean 'fps'?" in result.stderr


def test_debug_shows_the_traceback(foal: Foal) -> None:
    assert "Traceback" in foal("--debug", "inspect", "nothing.h5").stderr
