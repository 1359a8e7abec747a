"""The options of the fusion systems."""

import pytest

from foal.shared.config.fusion_settings import DIALOG_HEADS, FUSIONS, FusionSettings, fusion_options
from foal.shared.config.settings import load_settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import SettingsError


@pytest.mark.parametrize("name", FUSIONS)
def test_every_option_has_a_description_and_every_system_a_docstring(name: str) -> None:
    options = FUSIONS[name]
    assert options.__doc__ != FusionSettings.__doc__
    assert all(field.description for field in options.model_fields.values())
    assert fusion_options(name, {}) == options()


def test_heads_over_dialogs_are_those_that_need_dialogs() -> None:
    assert "dialog-gru" in DIALOG_HEADS
    assert "cross-attention" not in DIALOG_HEADS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusion": "concatenate"}, "train.fusion: there is no fusion 'concatenate'; did you mean 'concat'"),
        ({"fusion": "xyz"}, "train.fusion: there is no fusion 'xyz'; expected one of cross-attention, concat"),
        ({"fusion": "concat", "fusion_options": {"rank": 3}}, "concat has no option 'rank'; its options are hidden"),
        ({"fusion_options": {"rank": 3}}, "cross-attention has no option 'rank'; its options are none"),
        ({"fusion": "concat", "fusion_options": {"hidden": -1}}, "train.fusion_options.hidden: input should be"),
    ],
)
def test_wrong_names_and_options_are_one_sentence(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides={f"train.{key}": value for key, value in changes.items()})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_are_keys_of_the_settings() -> None:
    settings = load_settings(overrides={"train.fusion": "concat", "train.fusion_options.hidden": 8})
    assert settings.train.head_options == fusion_options("concat", {"hidden": 8})
    assert TrainSettings().head_options.model_dump() == {}
