import os
from pathlib import Path

import pytest

from foal.shared.cli.options import comma_list, settings_from
from foal.shared.config.settings import Settings, field_of, load_settings
from foal.shared.config.train_settings import PRESETS, REFERENCE, TrainSettings
from foal.shared.errors import SettingsError


def test_defaults_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings() == Settings()


def test_the_repository_params_are_valid_and_complete() -> None:
    settings = load_settings(Path(__file__).parents[3] / "params.yaml")
    assert settings.corpus.kind == "synthetic"


def test_an_option_overrides_its_key_and_the_rest_stays(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("extract:\n  workers: 3\n  face:\n    fps: 5\n")
    settings = settings_from(params, ["train.epochs=7"], cluster__workers=1, extract__face__encoder=None)
    assert settings.extract.workers == 1
    assert settings.extract.face.fps == 5
    assert settings.train.epochs == 7


def test_none_is_a_value_of_a_key_but_no_option(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  frame_rate: 5\n")
    assert settings_from(params, ["train.frame_rate=null"]).train.frame_rate is None
    assert settings_from(params, None, train__pool_hz=None).train.frame_rate == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extrct: {}", "did you mean 'extract'"),
        ("train:\n  learning_rat: 1", "did you mean 'learning_rate'"),
        ("train:\n  zzz: 1", "known are preset, modalities"),
        ("train:\n  epochs: many", "train.epochs"),
        ("train:\n  dropout: 1.5", "train.dropout"),
        ("[1, 2]", "expected sections"),
        ("a: [", "cannot be read as YAML"),
        ("corpus:\n  kind: klingon", "corpus.kind"),
        ("train:\n  preset: heavy", "train.preset.*'light' or 'paper', got 'heavy'"),
        ("train:\n  protocol: loso", "train.protocol.*'loso-nested', .*got 'loso'"),
        ("train:\n  seeds: []", "train.seeds"),
        ("train:\n  seeds: [-1]", "train.seeds"),
        ("train:\n  clip: 0", "train.clip"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(text)
    with pytest.raises(SettingsError, match=words):
        load_settings(params)


BOMB = "a0: &a0 [x, x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n}, ' * 9}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, r"line \d+: too many values"),
        ("&a [*a]", "too many values"),
        ("[" * 5000, "cannot be read as YAML"),
        ("train: {epochs: 1}\ntrain: {epochs: 2}", "line 2: the key 'train' stands twice"),
        ("corpus: !!python/name:os.system", "could not determine a constructor"),
        ("corpus: {root: 2024-13-45}", "a value is not what its form says"),
        (f"extract: {{workers: {'9' * 9000}}}", "a value is not what its form says"),
        (f"extract: {{workers: 0x{'f' * 9000}}}", "cluster.workers.*got int that is too large to be shown"),
        ("extract: {batch_seconds: .inf}", "'extract.batch_seconds': expected finite numbers, got inf"),
        ('corpus: {root: "\\ud800"}', "line 1: expected text, got NUL or half a character"),
        ("# " + "x" * 300_000, "bytes at most"),
        (f"train: {{epochs: {'x' * 9000}}}", "train.epochs"),
    ],
    ids=range(12),
)
def test_what_means_harm_is_refused_in_a_few_words(tmp_path: Path, text: str, words: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(text)
    with pytest.raises(SettingsError, match=words) as caught:
        load_settings(params)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "text",
    ["train.epochs=[", "train.epochs=&a [*a]", "." * 999 + "=1", "train.preset=0x" + "f" * 9000, "a=\udc80", "train"],
)
def test_a_harmful_assignment(text: str) -> None:
    with pytest.raises(SettingsError):
        settings_from(None, [text])


def test_what_is_no_settings_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(SettingsError, match="expected a settings file, got a folder, a pipe or a device"):
            load_settings(path)


def test_anchors_and_merge_keys_may_be_used(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("extract:\n  audio: &all {revision: v1}\n  face: {<<: *all, fps: 5}\n")
    face = load_settings(params).extract.face
    assert (face.revision, face.fps) == ("v1", 5)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().train.epochs = 3  # type: ignore[misc]


def test_field_of_finds_nested_keys() -> None:
    assert field_of("extract.face.fps").default == 10.0
    with pytest.raises(KeyError):
        field_of("extract.face.nose")


def test_a_preset_is_those_numbers_and_no_other() -> None:
    light, paper = TrainSettings().model_dump(), TrainSettings(preset="paper").model_dump()
    assert {key: paper[key] for key in PRESETS["paper"]} == PRESETS["paper"]
    changed = {key for key in light if light[key] != paper[key]}
    assert changed - {"preset"} <= PRESETS["paper"].keys()
    assert {"width", "batch_size", "schedule", "clip"} <= changed
    assert (paper["protocol"], paper["compat"]) == (None, ())  # the protocol stays honest, the faults stay out


def test_keys_of_the_file_beat_a_preset_of_the_file(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  preset: paper\n  width: 64\n  clip: 2.0\n")
    train = settings_from(params, None).train
    assert (train.width, train.clip, train.batch_size, train.schedule) == (64, 2.0, 16, "constant")


@pytest.mark.parametrize("asked", [{"train__preset": "paper"}, ["train.preset=paper"]], ids=["option", "set"])
def test_a_preset_that_is_asked_for_beats_the_file_and_options_beat_it(
    tmp_path: Path, asked: dict[str, str] | list[str]
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  width: 64\n  epochs: 7\n  patience: 3\n")
    options = asked if isinstance(asked, dict) else {}
    assignments = [] if isinstance(asked, dict) else asked
    train = settings_from(params, assignments, **options).train
    assert (train.preset, train.width, train.epochs) == ("paper", 512, 40)
    assert train.early_stopping_patience == 3  # of which the preset says nothing
    beaten = settings_from(
        params, [*assignments, "train.clip=null", "train.epochs=2"], **options, train__width=32
    ).train
    assert (beaten.width, beaten.epochs, beaten.clip, beaten.learning_rate) == (32, 2, None, 1e-4)
    kept = settings_from(params, ["train.width=16"]).train
    assert (kept.preset, kept.width, kept.epochs) == ("light", 16, 7)


def test_light_is_asked_for_by_name(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  preset: paper\n  epochs: 7\n")
    train = settings_from(params, None, train__preset="light").train
    assert train == TrainSettings(epochs=7)


@pytest.mark.parametrize(
    ("text", "faults"),
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
def test_compat_in_the_file_and_by_option(tmp_path: Path, text: str, faults: tuple[str, ...]) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"train:\n  compat: {text}\n")
    assert settings_from(params, None).train.compat == faults
    params.write_text("train:\n  compat: [own-pairs]\n")
    assert settings_from(params, [f"train.compat={text}"]).train.compat == faults
    if option := comma_list(text.strip("[]")):
        assert settings_from(params, None, train__compat=option).train.compat == faults


@pytest.mark.parametrize("text", ["sums", "[sum, temperatur]", "[reference, sum]", "3", "{sum: true}"])
def test_a_fault_that_nobody_knows(tmp_path: Path, text: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"train:\n  compat: {text}\n")
    with pytest.raises(SettingsError, match=r"^settings key 'train\.compat[.0-9]*': .*, got "):
        load_settings(params)
