"""The encoders of a model, found again."""

import json
import shutil
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from foal.extract.schedule.stream_spec import build_stream_spec
from foal.predict.extraction.encoders import detects_faces, encoder_options, find_encoders
from foal.shared.config.settings import ExtractSettings
from foal.shared.errors import EncoderError, UsageError
from foal.tests.extract.text.small_text_models import save_text_model

RUN = Path("runs/main")


def provenance(settings: ExtractSettings) -> dict[str, dict[str, Any]]:
    """As a run records it, through JSON."""
    result = {}
    for stream in settings.streams:
        header = build_stream_spec(settings, stream).header
        result[stream] = {
            "encoder": header.encoder,
            "revision": header.revision,
            "weights": header.weights,
            "random_weights": header.random_weights,
            "config_hash": header.config_hash,
            "config": dict(header.config),
        }
    copied: dict[str, dict[str, Any]] = json.loads(json.dumps(result))
    return copied


CONFIGURATIONS: list[Mapping[str, Any]] = [
    {},
    {"seed": 7, "precision": "bf16", "dtype": "float32", "streams": ("audio", "face", "text")},
    {"audio": {"channel": "left", "layers": (-1,), "max_seconds": 10.0}},
    {"face": {"region": "frame", "fps": 4.0}},
    {"face": {"region": "crop"}},
    {"face": {"encoder": "random:facenet", "margin": 0.1, "choose": "largest", "detect_stride": 2}},
    {"face": {"encoder": "random:facenet", "crop_shape": "square", "size": 112}},
    {"streams": ("text",), "text": {"context": 2, "speakers": "letters", "pool": "mean", "tags": "keep"}},
    {"streams": ("face", "face/second"), "encoders": {"face/second": {"region": "frame", "fps": 2.0}}},
]


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_same_features_are_described_as_for_the_training(configuration: Mapping[str, Any]) -> None:
    settings = ExtractSettings.model_validate(configuration)
    made = provenance(settings)
    found = find_encoders(RUN, made)
    assert {name: stream.spec.config_hash for name, stream in found.items()} == {
        name: stream["config_hash"] for name, stream in made.items()
    }


def test_configurations_of_earlier_versions_lack_keys() -> None:
    """Shards whose faces are square do not record the shape, and the first face followed is not recorded either."""
    made = provenance(ExtractSettings(streams=("face",)))
    assert "crop_shape" not in made["face"]["config"]
    assert detects_faces(find_encoders(RUN, made)["face"].spec)
    frames = provenance(ExtractSettings.model_validate({"streams": ("face",), "face": {"region": "frame"}}))
    assert not detects_faces(find_encoders(RUN, frames)["face"].spec)


def test_another_encoder_is_refused_by_its_weights(tmp_path: Path) -> None:
    made = provenance(ExtractSettings(streams=("face",)))
    with pytest.raises(EncoderError, match=r"expected the face encoder random:tiny \(weights .*got random:facenet"):
        find_encoders(RUN, made, {"face": "random:facenet"})


def test_a_folder_that_moved_is_found_by_its_name_and_hash(tmp_path: Path) -> None:
    save_text_model(tmp_path / "before" / "encoder", "bert")
    settings = {"streams": ("text",), "text": {"encoder": str(tmp_path / "before" / "encoder")}}
    made = provenance(ExtractSettings.model_validate(settings))
    run = tmp_path / "runs" / "main"
    shutil.move(tmp_path / "before" / "encoder", run / "encoder")
    found = find_encoders(run, made)["text"].spec
    assert (found.config_hash, found.weights.digest) == (made["text"]["config_hash"], made["text"]["weights"])
    # Another model of that name is not taken.
    shutil.rmtree(run / "encoder")
    save_text_model(run / "encoder", "roberta")
    with pytest.raises(EncoderError, match="is not on this machine"):
        find_encoders(run, made)


def test_a_folder_that_moved_is_found_by_option_only(tmp_path: Path) -> None:
    save_text_model(tmp_path / "before", "bert")
    made = provenance(
        ExtractSettings.model_validate({"streams": ("text",), "text": {"encoder": str(tmp_path / "before")}})
    )
    shutil.move(tmp_path / "before", tmp_path / "after")
    with pytest.raises(
        EncoderError, match="is not on this machine; give its folder or name with --encoder text=FOLDER"
    ):
        find_encoders(RUN, made)
    found = find_encoders(RUN, made, {"text": str(tmp_path / "after")})
    assert found["text"].spec.config_hash == made["text"]["config_hash"]
    (tmp_path / "after" / "config.json").write_text("{}")
    with pytest.raises(EncoderError):
        find_encoders(RUN, made, {"text": str(tmp_path / "after")})


def test_features_of_another_version_are_refused_with_the_key() -> None:
    made = provenance(ExtractSettings(streams=("face",)))
    older = deepcopy(made)
    older["face"]["config"]["algorithm"] = 3
    older["face"]["config_hash"] = "0" * 64
    with pytest.raises(EncoderError, match=r"computes other face features .*\(algorithm was 3, is 4\)"):
        find_encoders(RUN, older)
    strange = deepcopy(made)
    strange["face"]["config"]["fps"] = -1
    with pytest.raises(EncoderError, match="is not one of this version of foal"):
        find_encoders(RUN, strange)


def test_imported_features_cannot_be_computed() -> None:
    made = provenance(ExtractSettings(streams=("audio",)))
    made["audio"] |= {"encoder": "imported"}
    with pytest.raises(EncoderError, match="foal import"):
        find_encoders(RUN, made)


def test_an_option_names_a_stream_or_its_modality() -> None:
    streams = ["audio", "face/clip", "text/a", "text/b"]
    assert encoder_options(["audio=x", "face=/y=z", "text/b=t"], streams) == {
        "audio": "x",
        "face/clip": "/y=z",
        "text/b": "t",
    }
    for bad in ("audio", "audio=", "text=x", "video=x"):
        with pytest.raises(UsageError, match="--encoder: expected STREAM=FOLDER"):
            encoder_options([bad], streams)
