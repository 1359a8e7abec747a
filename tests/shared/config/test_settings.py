from pathlib import Path

import pytest

from foal.shared.cli.options import settings_from
from foal.shared.config.settings import Settings, load_settings, settings_field
from foal.shared.errors import SettingsError

ROOT = Path(__file__).parents[3]


def test_defaults_are_used_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings() == Settings()


def test_the_repository_params_are_valid() -> None:
    settings = load_settings(ROOT / "params.yaml")
    assert settings.corpus.kind == "synthetic"


def test_an_option_overrides_only_its_own_key(tmp_path: Path) -> None:
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
        ("train:\n  zzz: 1", "known keys: preset, streams"),
        ("train:\n  epochs: many", "train.epochs"),
        ("train:\n  dropout: 1.5", "train.dropout"),
        ("[1, 2]", "expected sections"),
        ("a: [", "cannot be read as YAML"),
        ("corpus:\n  kind: klingon", "corpus.kind"),
        ("cluster:\n  device: tpu", "cluster.device: expected auto, cpu, cuda or cuda:N, got 'tpu'"),
        ("cluster:\n  wait_workers: soon", "expected seconds or a duration such as 30min or 2h, got 'soon'"),
        ("cluster:\n  wait_workers: -1", "expected seconds or a duration such as 30min or 2h, got -1"),
        ("train:\n  preset: heavy", "train.preset.*'light' or 'paper', got 'heavy'"),
        ("train:\n  protocol: loso", "train.protocol.*'loso-nested', .*got 'loso'"),
        ("train:\n  seeds: []", "train.seeds"),
        ("train:\n  seeds: [-1]", "train.seeds"),
        ("train:\n  pool: mean", r"train.pool': expected a list such as \[A, B\], got 'mean'"),
        ("train:\n  clip: 0", "train.clip"),
        ("extract: {batch_seconds: .inf}", "'extract.batch_seconds': expected finite numbers, got inf"),
    ],
)
def test_an_invalid_file_is_refused_with_the_invalid_key(tmp_path: Path, text: str, message: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_settings(params)


def test_an_invalid_item_of_a_list_is_reported_once(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  seeds: [x]")
    with pytest.raises(SettingsError, match=r"^settings key 'train\.seeds\.0': input should be a valid integer.*'x'$"):
        load_settings(params)


def test_many_problems_are_truncated_to_twenty_lines(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("null", None), ("90", 90.0), ("0.5", 0.5), ("90s", 90.0), ("30min", 1800.0), ("1.5 h", 5400.0), ("2d", 172800.0)],
)
def test_durations_have_units(tmp_path: Path, text: str, seconds: float | None) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"cluster:\n  wait_workers: {text}\n")
    assert load_settings(params).cluster.wait_seconds() == seconds
