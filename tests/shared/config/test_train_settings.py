"""The settings of training: presets and deviations of the reference code."""

from pathlib import Path
from typing import Any

import pytest

from foal.shared.cli.options import comma_list, settings_from
from foal.shared.config.presets import PRESETS
from foal.shared.config.settings import load_settings
from foal.shared.config.train_settings import REFERENCE, TrainSettings
from foal.shared.errors import SettingsError


def test_a_preset_sets_its_keys_and_no_others() -> None:
    light, paper = TrainSettings().model_dump(), TrainSettings(preset="paper").model_dump()
    assert {key: paper[key] for key in PRESETS["paper"]} == PRESETS["paper"]
    changed = {key for key in light if light[key] != paper[key]}
    assert changed - {"preset"} <= PRESETS["paper"].keys()
    assert {"width", "batch_size", "schedule", "clip"} <= changed
    assert (paper["protocol"], paper["compat"]) == (None, ())  # nested, without deviations of the authors' code


def test_keys_of_the_file_override_a_preset_of_the_file(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  preset: paper\n  width: 64\n  clip: 2.0\n")
    train = settings_from(params, (), {}).train
    assert (train.width, train.clip, train.batch_size, train.schedule) == (64, 2.0, 16, "constant")


@pytest.mark.parametrize(
    ("assignments", "overrides"),
    [([], {"train.preset": "paper"}), (["train.preset=paper"], {})],
    ids=["option", "set"],
)
def test_a_preset_given_as_an_option_overrides_the_file_and_options_override_it(
    tmp_path: Path, assignments: list[str], overrides: dict[str, Any]
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  width: 64\n  epochs: 7\n  bootstrap: 30\n")
    train = settings_from(params, assignments, overrides).train
    assert (train.preset, train.width, train.epochs) == ("paper", 512, 40)
    assert train.bootstrap == 30  # not a key of the preset
    changed = settings_from(
        params, [*assignments, "train.clip=null", "train.epochs=2"], {**overrides, "train.width": 32}
    ).train
    assert (changed.width, changed.epochs, changed.clip, changed.learning_rate) == (32, 2, None, 1e-4)
    kept = settings_from(params, ["train.width=16"], {}).train
    assert (kept.preset, kept.width, kept.epochs) == ("light", 16, 7)


def test_the_default_preset_can_be_given_as_an_option(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  preset: paper\n  epochs: 7\n")
    train = settings_from(params, (), {"train.preset": "light"}).train
    assert train == TrainSettings(epochs=7)


@pytest.mark.parametrize(
    ("text", "deviations"),
    [
        ("reference", REFERENCE),
        ("[reference]", REFERENCE),
        ("none", ()),
        ("[none]", ()),
        ("[]", ()),
        ("sum", ("sum",)),
        ("[same-class, temperature]", ("same-class", "temperature")),
    ],
)
def test_compat_is_parsed_in_the_file_and_as_an_option(tmp_path: Path, text: str, deviations: tuple[str, ...]) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"train:\n  compat: {text}\n")
    assert settings_from(params, (), {}).train.compat == deviations
    params.write_text("train:\n  compat: [own-pairs]\n")
    assert settings_from(params, [f"train.compat={text}"], {}).train.compat == deviations
    if option := comma_list(text.strip("[]")):
        assert settings_from(params, (), {"train.compat": option}).train.compat == deviations


@pytest.mark.parametrize("text", ["sums", "[sum, temperatur]", "[reference, sum]", "3", "{sum: true}"])
def test_an_unknown_deviation_is_refused(tmp_path: Path, text: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"train:\n  compat: {text}\n")
    with pytest.raises(SettingsError, match=r"^settings key 'train\.compat[.0-9]*': .*, got "):
        load_settings(params)


def test_a_context_needs_a_head_over_dialogs() -> None:
    for context in ("past", "both", "none"):
        assert TrainSettings(fusion="dialog-gru", context=context).over_dialogs
    assert not TrainSettings().over_dialogs
    with pytest.raises(ValueError, match=r"train\.context: both needs a head that reads dialogs"):
        TrainSettings(context="both")


def test_losses_that_a_head_lacks_are_refused_only_if_an_option_asks_for_them() -> None:
    dialogs = TrainSettings(fusion="dialog-gru")
    dialogs.check_losses({"train.fusion"})
    TrainSettings(fusion="dialog-gru", avel=False).check_losses({"train.avel"})
    TrainSettings().check_losses({"train.avel", "train.mem"})
    with pytest.raises(SettingsError, match="--avel: expected a head with AVEL, got --fusion dialog-gru"):
        dialogs.check_losses({"train.avel"})
