"""The config hash covers exactly the settings that affect the feature values."""

from pathlib import Path
from typing import Any

import pytest

from foal.extract.schedule.stream_spec import (
    ACTIVATION_BYTES,
    LIBRARIES_BYTES,
    build_stream_spec,
    check_weights,
    current_config_hash,
    memory_needed,
)
from foal.shared.config.settings import ExtractSettings
from foal.shared.errors import EncoderError

BASE: dict[str, Any] = {"encoders": {"face/whole": {"region": "frame"}}}


def config_hashes(**changes: Any) -> dict[str, str]:
    settings = ExtractSettings.model_validate({**BASE, **changes})
    return {stream: current_config_hash(settings, stream) for stream in ("audio", "face", "face/whole")}


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"audio": {"layers": "all"}}, {"audio"}),
        ({"audio": {"max_seconds": 10}}, {"audio"}),
        ({"audio": {"channel": "left"}}, {"audio"}),
        ({"face": {"fps": 5}}, {"face", "face/whole"}),
        ({"face": {"margin": 0.5}}, {"face"}),
        ({"face": {"min_face_fraction": 0.2}}, {"face"}),
        ({"face": {"detect_stride": 1}}, {"face"}),
        ({"face": {"size": 96}}, {"face"}),
        ({"face": {"crop_shape": "stretched"}}, {"face"}),
        ({"face": {"choose": "centre"}}, {"face"}),
        ({"face": {"encoder": "random:facenet"}}, {"face", "face/whole"}),
        ({"precision": "bf16"}, {"audio", "face", "face/whole"}),
        ({"dtype": "float32"}, {"audio", "face", "face/whole"}),
        ({"seed": 1}, {"audio", "face", "face/whole"}),
    ],
)
def test_settings_that_affect_the_values_change_the_hash_of_their_streams(
    changes: dict[str, Any],
    changed: set[str],
) -> None:
    before, after = config_hashes(), config_hashes(**changes)
    assert {stream for stream in before if before[stream] != after[stream]} == changed


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_seconds": 100},
        {"batch_images": 5},
        {"decode_threads": 4},
        {"verify": False},
        {"chunk_seconds": 5},
        {"fingerprint": "content"},
        {"features_dir": "elsewhere"},
        {"task_timeout": 5},
        {"face": {"size": 160}},
        {"face": {"crop_shape": "square", "margin": 0.2, "choose": "first-followed"}},
        {"audio": {"revision": "other"}},
    ],
)
def test_settings_that_affect_no_value_change_no_hash(changes: dict[str, Any]) -> None:
    assert config_hashes(**changes) == config_hashes()


def test_the_mean_of_the_channels_keeps_the_hash_of_earlier_shards() -> None:
    assert "channel" not in build_stream_spec(ExtractSettings.model_validate(BASE), "audio").header.config


def test_negative_layers_count_from_the_end() -> None:
    assert config_hashes(audio={"layers": [-1]})["audio"] == config_hashes(audio={"layers": [2]})["audio"]
    assert config_hashes(audio={"layers": [0, 1]})["audio"] != config_hashes(audio={"layers": [1, 0]})["audio"]


@pytest.mark.parametrize(("layers", "count"), [("last", 1), ("mean", 1), ("all", 3), ((0, -1), 2)])
def test_the_layers_that_are_stored_are_counted(layers: str | tuple[int, ...], count: int) -> None:
    settings = ExtractSettings.model_validate({"audio": {"layers": layers}})
    assert build_stream_spec(settings, "audio").stored_layers == count
    assert build_stream_spec(settings, "face").stored_layers == 1


def test_the_name_of_a_stream_does_not_enter_its_hash() -> None:
    settings = ExtractSettings.model_validate({"encoders": {"face/a": {"fps": 3}, "face/b": {"fps": 3}}})
    assert build_stream_spec(settings, "face/a").header == build_stream_spec(settings, "face/b").header
    assert build_stream_spec(settings, "face/a").header.modality == "face"


def face_config(encoder: str, **keys: Any) -> dict[str, Any]:
    settings = ExtractSettings.model_validate({"face": {"encoder": encoder, **keys}})
    return dict(build_stream_spec(settings, "face").header.config)


def test_faces_are_stretched_for_inception_resnet_alone(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"weights")
    folder = tmp_path / "clip"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    for encoder in ("random:facenet", str(tmp_path / "weights.pt")):
        config = face_config(encoder)
        assert (config["crop_shape"], config["margin"]) == ("stretched", 0.0)
        assert (face_config(encoder, margin=0.3)["crop_shape"], face_config(encoder, margin=0.3)["margin"]) == (
            "stretched",
            0.3,
        )
    for encoder in ("random:tiny", str(folder)):
        config = face_config(encoder)
        assert ("crop_shape" in config, config["margin"]) == (False, 0.2)
        assert face_config(encoder, crop_shape="stretched")["margin"] == 0.0


def test_square_faces_have_the_hash_that_they_had_before_the_shape_was_a_setting() -> None:
    explicit = {"crop_shape": "square", "margin": 0.2, "choose": "first-followed"}
    for encoder in ("random:tiny", "random:facenet"):
        square = face_config(encoder, **explicit)
        assert {"crop_shape", "choose"}.isdisjoint(square)
        assert square["margin"] == 0.2
    assert face_config("random:tiny", **explicit) == face_config("random:tiny")


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"text": {"layers": "mean"}}, True),
        ({"text": {"layers": (-1, 0)}}, True),
        ({"text": {"pool": "mean"}}, True),
        ({"text": {"prefix": "query: "}}, True),
        ({"text": {"tags": "keep"}}, True),
        ({"text": {"context": 2}}, True),
        ({"text": {"transcripts": "asr:whisper"}}, True),
        ({"seed": 3}, True),
        ({"precision": "bf16"}, True),
        ({"text": {"speakers": "letters"}}, False),
        ({"text": {"revision": "other"}}, False),
        ({"batch_tokens": 9}, False),
        ({"chunk_seconds": 9}, False),
    ],
)
def test_the_hash_of_text_covers_what_changes_its_values(changes: dict[str, Any], changed: bool) -> None:
    before, after = (build_stream_spec(ExtractSettings.model_validate(settings), "text") for settings in ({}, changes))
    assert (before.config_hash != after.config_hash) == changed
    assert (before.modality, before.header.rate_hz, before.context) == ("text", 0.0, 0)
    assert after.context == changes.get("text", {}).get("context", 0)


def test_speakers_count_where_the_encoder_reads_several() -> None:
    hashes = {
        current_config_hash(ExtractSettings.model_validate({"text": {"context": 1, "speakers": speakers}}), "text")
        for speakers in ("none", "letters")
    }
    assert len(hashes) == 2


def test_workers_have_the_weights_of_the_command_under_its_path(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    settings = ExtractSettings.model_validate({"face": {"encoder": str(path)}})
    spec = build_stream_spec(settings, "face")
    check_weights(spec)
    check_weights(build_stream_spec(ExtractSettings(), "audio"))  # random weights need no file
    path.write_bytes(b"others!")
    with pytest.raises(EncoderError, match=r"expected the weights of this command .* got others .*copy the same"):
        check_weights(spec)
    path.unlink()
    with pytest.raises(EncoderError, match=r"there is no .*weights.pt on .*, where a worker runs; put the"):
        check_weights(spec)


def test_a_worker_needs_memory_for_libraries_weights_and_activations(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with path.open("wb") as file:
        file.truncate(300_000_000)
    random, face = (
        build_stream_spec(ExtractSettings.model_validate(changes), "face")
        for changes in ({}, {"face": {"encoder": str(path)}})
    )
    assert memory_needed([random]) == LIBRARIES_BYTES
    assert memory_needed([random, face]) == LIBRARIES_BYTES + ACTIVATION_BYTES + 300_000_000
