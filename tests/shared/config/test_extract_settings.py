"""Streams and their encoders in the settings."""

import math

import pytest
from pydantic import ValidationError

from foal.shared.config.settings import AudioSettings, ExtractSettings, FaceSettings, modality_of


def test_the_modality_of_a_stream_is_the_part_before_the_slash() -> None:
    assert [modality_of(name) for name in ("audio", "face", "face/clip")] == ["audio", "face", "face"]


def test_a_stream_has_the_settings_of_its_modality_and_its_own_keys() -> None:
    settings = ExtractSettings(
        face=FaceSettings(fps=5), encoders={"face/clip": {"region": "frame"}}, streams=("audio", "face/clip")
    )
    assert settings.stream("audio") == AudioSettings()
    assert settings.stream("face/clip") == FaceSettings(fps=5, region="frame")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoders": {"clip": {}}}, "expected names like face/clip"),
        ({"encoders": {"face/quality": {}}}, "expected names like face/clip"),
        ({"encoders": {"smell/x": {}}}, "expected names like face/clip"),
        ({"encoders": {"face/clip": {"fsp": 1}}}, "unknown key 'fsp'; did you mean 'fps'"),
        ({"encoders": {"face/clip": {"fps": 0}}}, "extract.encoders.face/clip: settings key 'fps'"),
        ({"streams": ["audio", "face/clip"]}, "expected some of audio, face, text, got face/clip"),
        ({"max_failures": "101%"}, "expected a number from 0 on or a share such as 5%"),
    ],
)
def test_invalid_streams_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExtractSettings.model_validate(values)


@pytest.mark.parametrize(("limit", "allowed"), [(None, math.inf), (0, 0.0), (7, 7.0), ("5%", 10.0), ("12", 12.0)])
def test_the_failure_limit_is_a_number_or_a_share(limit: int | str | None, allowed: float) -> None:
    assert ExtractSettings(max_failures=limit).failures_allowed(200) == allowed
