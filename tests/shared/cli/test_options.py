"""Options are generated from settings keys: names, help, defaults and parsing."""

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from foal.shared.cli.main import ORDER
from foal.shared.cli.options import comma_list, setting, settings_from, with_settings
from foal.shared.config.settings import Settings, settings_field
from foal.shared.errors import SettingsError

WITHOUT_SETTINGS = {"init", "results", "runs", "compare", "export", "export-features", "code-hash"}
OPTION_HELP = re.compile(r"\(key (\S+), default: ([^()]*)\)\Z")


def parameters_of(command: str) -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(entry_points(group="foal.commands")[command].load())
    return list(typer.main.get_command(app).params)


def run(command: Any, *arguments: str) -> None:
    app = typer.Typer(add_completion=False)
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", ORDER)
def test_the_help_of_an_option_contains_its_key_and_default(command: str) -> None:
    for parameter in parameters_of(command):
        assert parameter.help
        if "(key" not in parameter.help:
            continue
        # Options declared by a command itself may name a key without a default.
        match = OPTION_HELP.search(parameter.help)
        if match is None:
            assert parameter.name in ("on_disk", "index", "out"), parameter.name
            continue
        default = settings_field(match[1]).default
        default_text = match[2].partition(";")[0]
        if isinstance(default, tuple):
            assert default_text == (",".join(map(str, default)) or "none")
        else:
            assert default_text.lower() == str(default).lower()


@pytest.mark.parametrize("command", [name for name in ORDER if name not in WITHOUT_SETTINGS])
def test_every_command_with_settings_has_params_and_set(command: str) -> None:
    options = {flag for parameter in parameters_of(command) for flag in parameter.opts}
    assert {"--params", "--set"} <= options


def test_given_options_override_their_keys_and_are_listed(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train: {epochs: 3, width: 64}\n")
    calls: list[tuple[Settings, frozenset[str], bool]] = []

    @with_settings(epochs="train.epochs", avel="train.avel", features=setting("index", "--features", "-f"))
    def command(
        *, settings: Settings, given: frozenset[str], pack: Annotated[bool, typer.Option("--pack")] = False
    ) -> None:
        calls.append((settings, given, pack))

    run(
        command, "--params", str(params), "--epochs", "5", "--no-avel", "-f", "x.h5", "--set", "train.heads=2", "--pack"
    )
    settings, given, pack = calls[0]
    assert (settings.train.epochs, settings.train.width, settings.train.heads) == (5, 64, 2)
    assert (settings.train.avel, settings.index) == (False, Path("x.h5"))
    assert given == {"train.epochs", "train.avel", "index"}
    assert pack


def test_a_comma_list_is_split_and_a_single_choice_is_kept() -> None:
    calls: list[Settings] = []

    @with_settings(layers="extract.audio.layers", streams="extract.streams", seeds="train.seeds")
    def command(*, settings: Settings) -> None:
        calls.append(settings)

    run(command, "--layers", "6,9", "--streams", "audio", "--seeds", "0,2")
    run(command, "--layers", "mean")
    assert (calls[0].extract.audio.layers, calls[0].extract.streams, calls[0].train.seeds) == (
        (6, 9),
        ("audio",),
        (0, 2),
    )
    assert calls[1].extract.audio.layers == "mean"


def test_an_unknown_key_is_refused_when_the_command_is_declared() -> None:
    with pytest.raises(KeyError):
        with_settings(speed="train.speed")(lambda *, settings: None)


@pytest.mark.parametrize(("text", "parts"), [("a,b", ["a", "b"]), (" a , ", ["a"]), ("", []), (None, None)])
def test_comma_list_strips_and_drops_empty_parts(text: str | None, parts: list[str] | None) -> None:
    assert comma_list(text) == parts


def test_options_override_assignments() -> None:
    assert settings_from(None, ["train.epochs=7"], {"train.epochs": 8}).train.epochs == 8
    with pytest.raises(SettingsError, match="--set: expected KEY=VALUE, got 'epochs'"):
        settings_from(None, ["epochs"], {})
