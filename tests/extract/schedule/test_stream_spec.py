"""A shard's key covers exactly what changes its numbers."""

from typing import Any

import pytest

from foal.extract.schedule.stream_spec import present_key, recipe
from foal.shared.config.settings import ExtractSettings

BASE: dict[str, Any] = {"streams": {"face/whole": {"view": "frame"}}}


def keys(**changes: Any) -> dict[str, str]:
    settings = ExtractSettings.model_validate({**BASE, **changes})
    return {stream: present_key(settings, stream) for stream in ("audio", "face", "face/whole")}


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"audio": {"layers": "all"}}, {"audio"}),
        ({"audio": {"max_seconds": 10}}, {"audio"}),
        ({"face": {"fps": 5}}, {"face", "face/whole"}),
        ({"face": {"margin": 0.5}}, {"face"}),
        ({"face": {"min_face_fraction": 0.2}}, {"face"}),
        ({"face": {"detect_stride": 1}}, {"face"}),
        ({"face": {"size": 96}}, {"face"}),
        ({"face": {"encoder": "random:facenet"}}, {"face", "face/whole"}),
        ({"precision": "bf16"}, {"audio", "face", "face/whole"}),
        ({"store": "float32"}, {"audio", "face", "face/whole"}),
        ({"seed": 1}, {"audio", "face", "face/whole"}),
    ],
)
def test_what_changes_the_numbers_changes_the_key_and_no_other(changes: dict[str, Any], changed: set[str]) -> None:
    before, after = keys(), keys(**changes)
    assert {stream for stream in before if before[stream] != after[stream]} == changed


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 7},
        {"threads": 3},
        {"batch_seconds": 100},
        {"batch_images": 5},
        {"decoders": 4},
        {"verify": False},
        {"chunk_seconds": 5},
        {"fingerprint": "content"},
        {"features": "elsewhere"},
        {"device": "cpu"},
        {"face": {"size": 160}},
        {"audio": {"revision": "other"}},
    ],
)
def test_what_changes_no_number_changes_no_key(changes: dict[str, Any]) -> None:
    assert keys(**changes) == keys()


def test_layers_count_from_either_end() -> None:
    assert keys(audio={"layers": [-1]})["audio"] == keys(audio={"layers": [2]})["audio"]
    assert keys(audio={"layers": [0, 1]})["audio"] != keys(audio={"layers": [1, 0]})["audio"]


def test_a_stream_is_its_settings_whatever_its_name() -> None:
    one = ExtractSettings.model_validate({"streams": {"face/a": {"fps": 3}, "face/b": {"fps": 3}}})
    assert recipe(one, "face/a").header == recipe(one, "face/b").header
    assert recipe(one, "face/a").header.modality == "face"
