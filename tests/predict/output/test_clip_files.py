"""The files that belong to one media file."""

import logging
from pathlib import Path

import pytest

from foal.predict.output.clip_files import by_file, file_names, write_clip_files
from foal.tests.predict.output.predictions import prediction, result_of, windows


def test_the_rows_of_a_file_belong_together() -> None:
    other = prediction("b.mp4", media="/m/b.mp4")
    words = prediction("words", media="")
    first, second = by_file(result_of(prediction(), *windows(3, id="/m/a.mp4"), other, words))
    assert (first.name, first.path, first.span) == ("a.mp4", Path("/m/a.mp4"), (0.0, 4.0))
    assert second.name == "b.mp4"
    assert first.people() == {"": ["/m/a.mp4"]}
    assert [row.part for row in first.parts(["/m/a.mp4"])] == ["window"] * 3
    assert [row.part for row in second.parts(["/m/b.mp4"])] == ["clip"]


def test_faces_are_people_and_their_segments_belong_to_them() -> None:
    rows = [
        prediction(f"a.mp4#face{face}#{start}", start=start, end=start + 1.0) for face in (1, 2) for start in (0.0, 1.0)
    ]
    (found,) = by_file(result_of(*rows))
    assert found.name == "a.mp4"
    assert {face: len(ids) for face, ids in found.people().items()} == {"face1": 2, "face2": 2}


def test_names_of_files_are_distinct_and_stay_in_the_folder() -> None:
    names = ["a/b.mp4", "a_b.mp4", "/../c.mp4", "x" * 400]
    found = file_names(names)
    assert found[:3] == ["a_b.mp4", "a_b.mp4-2", "c.mp4"]
    assert len(set(found)) == 4
    assert all("/" not in name and len(name) <= 100 for name in found)


def test_what_cannot_be_drawn_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="foal"):
        written = write_clip_files(tmp_path, result_of(prediction()), timeline=False, vtt=True, annotate=True)
        assert not write_clip_files(
            tmp_path, result_of(classes=(), ratings=("valence",)), timeline=True, vtt=False, annotate=False
        )
    assert written == [tmp_path / "a.mp4.vtt"]
    assert "a.mp4: no picture or video of the predictions: no such file" in caplog.text
    assert "there are none" in caplog.text
