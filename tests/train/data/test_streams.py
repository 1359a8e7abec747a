"""The streams of a run, and the names of the network's inputs."""

import pytest
from pydantic import ValidationError

from foal.shared.config.train_settings import TrainSettings
from foal.train.data.streams import (
    input_names,
    input_pairs,
    leading_stream,
    wanted_streams,
)


def test_streams_are_sorted_by_modality_whatever_the_order() -> None:
    settings = TrainSettings(streams=("text/roberta", "face", "audio/wavlm", "audio/hubert"))
    assert settings.streams == ("audio/hubert", "audio/wavlm", "face", "text/roberta")


@pytest.mark.parametrize("words", ["both", ["both"], ("audio", "face"), ["face", "audio"]])
def test_both_means_audio_and_face(words: object) -> None:
    assert TrainSettings.model_validate({"streams": words}).streams == ("audio", "face")


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        (("video",), "expected audio, face, text, or the name of a stream such as face/clip, got 'video'"),
        (("face/",), "got 'face/'"),
        (("audio", "audio"), "expected every stream once, got audio, audio"),
        ((), "at least 1"),
    ],
)
def test_other_streams_are_refused(streams: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainSettings(streams=streams)


def test_an_input_is_named_after_its_modality_unless_there_are_several_streams_of_it() -> None:
    assert input_names(["audio/hubert", "face"]) == ("audio", "face")
    assert input_names(["audio", "audio/v1.0", "text"]) == ("audio", "audio/v1_0", "text")
    settings = TrainSettings(streams=("audio/hubert", "face"))
    assert wanted_streams(settings) == {"audio": "audio/hubert", "face": None}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["audio", "face", "text"], "text"),
        (["face", "audio"], "audio"),
        (["face/clip", "face/facenet"], "face/clip"),
        (["audio", "text/bert", "text/roberta"], "text/bert"),
    ],
)
def test_text_leads_then_audio_then_the_first_stream(inputs: list[str], expected: str) -> None:
    assert leading_stream(inputs) == expected


def test_every_two_inputs_are_a_pair() -> None:
    assert input_pairs(["a", "b", "c"]) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_shares_of_modality_dropout_are_of_streams_of_the_run() -> None:
    settings = TrainSettings(streams=("audio", "text/roberta"), modality_dropout={"text": 0.3, "audio": 0.1})
    assert settings.modality_dropout == {"text": 0.3, "audio": 0.1}
    with pytest.raises(ValidationError, match="expected modalities or streams of audio, face, got 'text'"):
        TrainSettings(modality_dropout={"text": 0.3})
    with pytest.raises(ValidationError, match="less than 1"):
        TrainSettings(modality_dropout=1.0)
