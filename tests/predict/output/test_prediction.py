"""Rows of a prediction."""

import json

import numpy as np

from foal.predict.output.prediction import FaceTrace, Failed
from foal.tests.predict.output.predictions import CLASSES, prediction, result_of


def test_a_row_names_its_class_and_what_is_missing() -> None:
    row = prediction(missing={"face": "no face found", "text": ""}, truth="sad")
    assert (row.label(CLASSES), round(row.probability(), 3)) == ("hap", 0.7)
    assert row.missing_text() == "face (no face found), text"
    written = row.as_json(CLASSES)
    assert (written["label"], written["predicted"]) == ("sad", "hap")
    assert list(written["probabilities"]) == list(CLASSES)


def test_a_model_of_ratings_has_no_class() -> None:
    row = prediction(probabilities=(), ratings={"valence": 3.5})
    assert row.label(()) == ""
    assert "predicted" not in row.as_json(())
    assert row.as_json(())["ratings"] == {"valence": 3.5}


def test_the_result_is_json_and_its_exit_code_tells_of_failures() -> None:
    failed = Failed(name="b.mp4", media="/m/b.mp4", reason="no such file")
    assert result_of(prediction()).exit_code == 0
    result = result_of(prediction(), failures=[failed])
    assert result.exit_code == 3
    assert json.loads(json.dumps(result.as_json()))["failures"] == [
        {"id": "b.mp4", "media": "/m/b.mp4", "reason": "no such file"}
    ]


def test_a_face_is_looked_up_by_time() -> None:
    boxes = np.array([[0.1, 0.1, 0.2, 0.2], [np.nan] * 4, [0.3, 0.3, 0.4, 0.4]], np.float32)
    trace = FaceTrace(start=2.0, rate_hz=10.0, boxes=boxes)
    first, third = trace.box_at(2.05), trace.box_at(2.25)
    assert first is not None
    assert third is not None
    assert first[0] == boxes[0, 0]
    assert third[0] == boxes[2, 0]
    assert [trace.box_at(seconds) for seconds in (1.0, 2.15, 2.35)] == [None, None, None]
