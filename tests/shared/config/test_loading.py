"""params.yaml is parsed as DVC parses it; an invalid file or a repeated key gives a one-sentence error."""

import os
from pathlib import Path
from typing import Any

import pytest

from foal.shared.cli.options import settings_from
from foal.shared.config.loading import YamlError, parse_yaml, set_dotted
from foal.shared.config.settings import load_settings
from foal.shared.errors import SettingsError

SCALARS = ["1e-4", "1.5e3", "yes", "on", "010", "0o10", "0x1F", "1_000", "~", "null", "12:30:45", "2024-01-02", "'yes'"]


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_are_parsed_as_dvc_parses_them(text: str) -> None:
    expected = pytest.importorskip("dvc.utils.serialize").parse_yaml(f"key: {text}\n", "params.yaml")
    parsed = parse_yaml(f"key: {text}\n")
    assert parsed == expected
    assert type(parsed["key"]) is type(expected["key"])


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("yes", "yes"), ("010", 10), ("true", True)])
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


def test_an_exponent_without_a_decimal_point_is_a_number_in_the_file_and_in_set(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  learning_rate: 1e-4\n")
    assert load_settings(params).train.learning_rate == 1e-4
    assert settings_from(params, ["train.learning_rate=2e-4"], {}).train.learning_rate == 2e-4


def test_a_repeated_key_is_reported_in_one_sentence_with_its_line(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train: {epochs: 1}\ntrain: {epochs: 2}\n")
    with pytest.raises(SettingsError, match=r"cannot be read as YAML: line 2: .*duplicate key") as caught:
        load_settings(params)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["a: [", "corpus: !!python/name:os.system x", "a: b: c", "\ttabs: 1", "corpus: {root: 2024-13-45}"]
)
def test_invalid_yaml_is_reported_in_one_line(text: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["train.pool=mean,std", "train.pool=[mean, std]", " train.pool = mean,std"])
def test_an_assigned_list_may_be_written_as_in_an_option(text: str) -> None:
    assert settings_from(None, [text], {}).train.pool == ("mean", "std")


@pytest.mark.parametrize("text", ["train.epochs=[", "train", "=", ".=1", "train.epochs.x=1", "a=\udc80"])
def test_an_invalid_assignment_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        settings_from(None, [text], {})


def test_a_folder_or_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(SettingsError, match="expected a settings file, got a folder or a device"):
            load_settings(path)


def test_bytes_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"corpus: {root: \xff}")
    with pytest.raises(SettingsError, match="cannot be read as YAML"):
        load_settings(tmp_path / "params.yaml")


def test_anchors_and_merge_keys_are_supported(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("extract:\n  audio: &all {revision: v1}\n  face: {<<: *all, fps: 5}\n")
    face = load_settings(params).extract.face
    assert (face.revision, face.fps) == ("v1", 5)


def test_a_dotted_key_creates_its_sections() -> None:
    values: dict[str, Any] = {"train": {"epochs": 1}}
    set_dotted(values, "extract.face.fps", 5)
    set_dotted(values, "train.width", 64)
    assert values == {"train": {"epochs": 1, "width": 64}, "extract": {"face": {"fps": 5}}}
    with pytest.raises(SettingsError, match="expected a section with keys"):
        set_dotted(values, "train.epochs.first", 1)
