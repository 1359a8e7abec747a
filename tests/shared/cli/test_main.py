"""The command as a user meets it: help, wrong words, exit codes."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


def test_help_names_every_command(foal: Foal) -> None:
    done = foal("--help")
    assert done.returncode == 0
    for command in ("synth", "corpus", "manifest", "extract", "index", "verify", "inspect", "train", "results"):
        assert command in done.stdout


@pytest.mark.parametrize("command", ["synth", "corpus", "manifest", "extract", "index", "verify", "train"])
def test_help_of_a_command_gives_keys_and_defaults(foal: Foal, command: str) -> None:
    text = " ".join(foal(command, "--help").stdout.split())
    assert "default:" in text
    assert "key " in text


def test_version(foal: Foal) -> None:
    assert foal("--version").stdout.startswith("foal ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["frobnicate"], 2, "No such command"),
        (["extract"], 2, "--split"),
        (["extract", "--split", "all"], 1, "there is no such manifest"),
        (["extract", "--split", "all", "--workers", "many"], 2, "'--workers'"),
        (["extract", "--split", "all", "--params", "none.yaml"], 2, "no such settings file"),
        (["train", "--features", "none.h5"], 1, "there is no such file"),
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
        (["inspect", "nothing.h5"], 1, "there is no such file"),
    ],
)
def test_a_mistake_gets_one_message(foal: Foal, arguments: list[str], code: int, words: str) -> None:
    done = foal(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_key_in_params_suggests_the_nearest(foal: Foal, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("extract:\n  face:\n    fsp: 10\n")
    done = foal("extract", "--split", "all")
    assert done.returncode == 2
    assert "did you mean 'fps'?" in done.stderr


def test_debug_shows_the_traceback(foal: Foal) -> None:
    assert "Traceback" in foal("--debug", "inspect", "nothing.h5").stderr
