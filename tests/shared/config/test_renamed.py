"""Keys and options of earlier versions are refused with one sentence that contains the new name."""

import subprocess
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer

from foal.shared.cli.options import settings_from
from foal.shared.config.renamed import RENAMED_KEYS, RENAMED_OPTIONS
from foal.shared.config.settings import load_settings, settings_field
from foal.shared.errors import SettingsError

Foal = Callable[..., "subprocess.CompletedProcess[str]"]

OLD_PARAMS = """\
corpus:
  kind: synthetic
  root: data/synthetic

extract:
  features: features
  modalities: [audio, face]
  workers: 0
  device: auto
  store: float16
  face:
    view: face
    min_face: 0.1
    detect_every: 4
  streams: {}

train:
  align: true
  match: true
  stream: false
"""
"""The renamed keys of the first version's params.yaml, in its order."""


@pytest.mark.parametrize(("old", "new"), RENAMED_KEYS.items())
def test_a_renamed_key_is_refused_with_its_new_name(old: str, new: str) -> None:
    settings_field(new)
    with pytest.raises(KeyError):
        settings_field(old)
    with pytest.raises(SettingsError, match=f"^settings key '{old}' was renamed to '{new}'$"):
        settings_from(None, [f"{old}=1"], {})


def test_the_old_mapping_of_streams_is_refused_with_its_new_name() -> None:
    for text in ("{face/clip: {region: frame}}", "{}"):
        with pytest.raises(SettingsError, match=r"was renamed to 'extract\.encoders'"):
            settings_from(None, [f"extract.streams={text}"], {})


def test_a_renamed_key_of_an_encoder_is_refused_with_its_new_name() -> None:
    with pytest.raises(SettingsError, match=r"encoders\.face/clip: key 'view' was renamed to 'region'"):
        settings_from(None, ["extract.encoders={face/clip: {view: frame}}"], {})


def test_an_old_params_file_is_refused_with_the_new_name_of_its_first_renamed_key(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(OLD_PARAMS)
    with pytest.raises(SettingsError, match=r"^settings key 'extract.features' was renamed to 'extract.features_dir'$"):
        load_settings(params)


@pytest.mark.parametrize("command", RENAMED_OPTIONS)
def test_the_replacement_of_a_renamed_option_is_an_option(command: str) -> None:
    app = typer.Typer()
    app.command()(entry_points(group="foal.commands")[command].load())
    params = typer.main.get_command(app).params
    options = {flag for param in params for flag in (*param.opts, *param.secondary_opts)}
    for old, new in RENAMED_OPTIONS[command].items():
        assert old not in options
        assert new.split()[0] in options


@pytest.mark.parametrize(
    ("arguments", "old", "new"),
    [
        (["train", "--align"], "--align", "--avel"),
        (["train", "--patience=3"], "--patience", "--early-stopping-patience"),
        (["extract", "-s", "all", "--features", "here"], "--features", "--features-dir"),
        (["index", "--key", "audio=abc"], "--key", "--config-hash"),
    ],
)
def test_a_renamed_option_is_refused_with_its_new_name(
    foal_here: Foal, arguments: list[str], old: str, new: str
) -> None:
    result = foal_here(*arguments)
    assert result.returncode == 2
    assert result.stderr == f"foal: {arguments[0]}: option {old} was renamed to {new}\n"
