"""Which features several faces share; copying them is tested with the cache."""

from pathlib import Path

from foal.predict.extraction.copies import distinct, extracted_as
from foal.predict.sources import file_utterance, part_of
from foal.tests.predict.small_model import model_streams

STREAMS = model_streams()


def test_only_features_of_faces_depend_on_the_face() -> None:
    clip = file_utterance(Path("/media/a.mp4"))
    faces = [part_of(clip, f"face{n}", crop=crop) for n, crop in ((1, "left"), (2, "right"))]
    assert [utterance.id for utterance in distinct(faces, STREAMS["audio"])] == [clip.id]
    assert distinct(faces, STREAMS["face"]) == faces
    assert extracted_as(faces[0], STREAMS["audio"]).source("audio") == clip.source("audio")
