from pathlib import Path

import pytest

from foal.shared.errors import SettingsError
from foal.shared.options import settings_from
from foal.shared.settings import Settings, field_of, load_settings


def test_defaults_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings() == Settings()


def test_the_repository_params_are_valid_and_complete() -> None:
    settings = load_settings(Path(__file__).parents[2] / "params.yaml")
    assert settings.corpus.kind == "synthetic"


def test_an_option_overrides_its_key_and_the_rest_stays(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("extract:\n  workers: 3\n  face:\n    fps: 5\n")
    settings = settings_from(params, ["train.epochs=7"], extract__workers=1, extract__face__encoder=None)
    assert settings.extract.workers == 1
    assert settings.extract.face.fps == 5
    assert settings.train.epochs == 7


def test_none_is_a_value_of_a_key_but_no_option(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  frame_rate: 5\n")
    assert settings_from(params, ["train.frame_rate=null"]).train.frame_rate is None
    assert settings_from(params, None, train__frame_rate=None).train.frame_rate == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extrct: {}", "did you mean 'extract'"),
        ("train:\n  learning_rat: 1", "did you mean 'learning_rate'"),
        ("train:\n  zzz: 1", "known are modalities"),
        ("train:\n  epochs: many", "train.epochs"),
        ("train:\n  dropout: 1.5", "train.dropout"),
        ("[1, 2]", "expected sections"),
        ("a: [", "cannot be read as YAML"),
        ("corpus:\n  kind: klingon", "corpus.kind"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(text)
    with pytest.raises(SettingsError, match=words):
        load_settings(params)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().train.epochs = 3  # type: ignore[misc]


def test_field_of_finds_nested_keys() -> None:
    assert field_of("extract.face.fps").default == 10.0
    with pytest.raises(KeyError):
        field_of("extract.face.nose")
