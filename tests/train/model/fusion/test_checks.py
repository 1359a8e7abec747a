"""The stream that leads a fusion, and attention heads that divide the width."""

import pytest

from foal.shared.errors import TrainingError
from foal.train.model.fusion.checks import check_heads, leading_stream


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["audio", "face", "text"], "text"),
        (["face", "audio"], "audio"),
        (["face/clip", "face/facenet"], "face/clip"),
        (["audio", "text/bert", "text/roberta"], "text/bert"),
    ],
)
def test_text_leads_then_audio_then_the_first_stream(names: list[str], expected: str) -> None:
    assert leading_stream(names, None, "strong") == expected
    assert leading_stream(names, names[1], "strong") == names[1]


def test_the_leading_stream_must_be_one_of_the_streams() -> None:
    with pytest.raises(
        TrainingError, match=r"fusion_options.strong: expected one of the streams audio, face, got 'text'"
    ):
        leading_stream(["audio", "face"], "text", "strong")


def test_heads_must_divide_the_width() -> None:
    check_heads(12, 4)
    with pytest.raises(TrainingError, match=r"fusion_options.heads: expected heads that divide the width 10, got 4"):
        check_heads(10, 4)
