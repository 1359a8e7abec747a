"""The manifest of EmoDB."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.manifests.corpora import emodb
from foal.shared.errors import ManifestError

Touch = Callable[..., Path]


def test_names_give_speaker_and_emotion(touch: Touch) -> None:
    result = emodb.build(touch("wav/03a01Fa.wav", "wav/08b10Wb.wav", "wav/16a02Lb.wav", "wav/x.wav", "erklaerung.txt"))
    assert [(u.id, u.speaker, u.gender, u.label, u.audio, u.video) for u in result.utterances] == [
        ("03a01Fa", "03", "M", "hap", "wav/03a01Fa.wav", ""),
        ("08b10Wb", "08", "F", "ang", "wav/08b10Wb.wav", ""),
        ("16a02Lb", "16", "F", "bor", "wav/16a02Lb.wav", ""),
    ]
    assert result.warnings == ["wav/x.wav: expected a name such as 03a01Fa.wav; skipped"]
    assert result.notes[0] == "3 clips, NOT equal to the published 535"
    assert result.notes[-1] == "files not taken: 1 .txt (no suffix of audio or video)"
    assert len({u.fold for u in result.utterances}) == 3


def test_no_clip_of_the_classes_is_an_error(touch: Touch) -> None:
    with pytest.raises(ManifestError, match=r"expected clips named like 03a01Fa.wav, got none with the labels sad"):
        emodb.build(touch("wav/03a01Fa.wav"), ["sad"])
