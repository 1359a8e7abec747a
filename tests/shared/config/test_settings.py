from pathlib import Path
from typing import Any

import pytest

from foal.shared.cli.options import comma_list, settings_from
from foal.shared.config.settings import Settings, load_settings, settings_field
from foal.shared.config.train_settings import PRESETS, REFERENCE, TrainSettings
from foal.shared.errors import SettingsError

ROOT = Path(__file__).parents[3]


def test_defaults_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings() == Settings()


def test_the_repository_params_are_valid() -> None:
    settings = load_settings(ROOT / "params.yaml")
    assert settings.corpus.kind == "synthetic"


def test_an_option_overrides_its_key_and_the_rest_stays(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("cluster:\n  workers: 3\nextract:\n  face:\n    fps: 5\n")
    settings = settings_from(params, ["train.epochs=7"], {"cluster.workers": 1})
    assert settings.cluster.workers == 1
    assert settings.extract.face.fps == 5
    assert settings.train.epochs == 7


def test_null_is_a_value_of_a_key(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  frame_rate: 5\n")
    assert settings_from(params, ["train.frame_rate=null"], {}).train.frame_rate is None
    assert settings_from(params, (), {}).train.frame_rate == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extrct: {}", "did you mean 'extract'"),
        ("train:\n  learning_rat: 1", "did you mean 'learning_rate'"),
        ("train:\n  zzz: 1", "known are preset, modalities"),
        ("train:\n  epochs: many", "train.epochs"),
        ("train:\n  dropout: 1.5", "train.dropout"),
        ("[1, 2]", "expected sections"),
        ("a: [", "cannot be read as YAML"),
        ("corpus:\n  kind: klingon", "corpus.kind"),
        ("cluster:\n  device: tpu", "cluster.device: expected auto, cpu, cuda or cuda:N, got 'tpu'"),
        ("train:\n  preset: heavy", "train.preset.*'light' or 'paper', got 'heavy'"),
        ("train:\n  protocol: loso", "train.protocol.*'loso-nested', .*got 'loso'"),
        ("train:\n  seeds: []", "train.seeds"),
        ("train:\n  seeds: [-1]", "train.seeds"),
        ("train:\n  clip: 0", "train.clip"),
        ("extract: {batch_seconds: .inf}", "'extract.batch_seconds': expected finite numbers, got inf"),
    ],
)
def test_an_invalid_file_is_one_message_that_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_settings(params)


def test_many_problems_are_cut_to_twenty_lines(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n" + "".join(f"  unknown{number}: 1\n" for number in range(25)))
    with pytest.raises(SettingsError, match=r"\.\.\. and 5 more") as caught:
        load_settings(params)
    assert str(caught.value).count("\n") == 20


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().train.epochs = 3  # type: ignore[misc]


def test_settings_field_finds_nested_keys() -> None:
    assert settings_field("extract.face.fps").default == 10.0
    with pytest.raises(KeyError):
        settings_field("extract.face.nose")


def test_a_preset_sets_its_keys_and_no_others() -> None:
    light, paper = TrainSettings().model_dump(), TrainSettings(preset="paper").model_dump()
    assert {key: paper[key] for key in PRESETS["paper"]} == PRESETS["paper"]
    changed = {key for key in light if light[key] != paper[key]}
    assert changed - {"preset"} <= PRESETS["paper"].keys()
    assert {"width", "batch_size", "schedule", "clip"} <= changed
    assert (paper["protocol"], paper["compat"]) == (None, ())  # still nested, and without the authors' deviations


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
    params.write_text("train:\n  width: 64\n  epochs: 7\n  early_stopping_patience: 3\n")
    train = settings_from(params, assignments, overrides).train
    assert (train.preset, train.width, train.epochs) == ("paper", 512, 40)
    assert train.early_stopping_patience == 3  # not a key of the preset
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
def test_compat_in_the_file_and_as_an_option(tmp_path: Path, text: str, deviations: tuple[str, ...]) -> None:
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
