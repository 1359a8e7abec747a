"""Predictions as subtitles."""

from foal.predict.output.clip_files import by_file
from foal.predict.output.subtitles import joined, shown_spans, subtitle_text
from foal.tests.predict.output.predictions import prediction, result_of, windows


def test_windows_are_shown_around_their_middles_without_overlaps() -> None:
    assert [(start, end) for start, end, _ in shown_spans(windows(3))] == [(0.0, 1.5), (1.5, 2.5), (2.5, 4.0)]
    apart = [prediction(start=0.0, end=1.0), prediction(start=2.0, end=3.0)]
    assert [(start, end) for start, end, _ in shown_spans(apart)] == [(0.0, 1.0), (2.0, 3.0)]


def test_equal_texts_become_one_cue() -> None:
    (found,) = by_file(
        result_of(prediction(), *windows(3, [(0.2, 0.7, 0.1), (0.2, 0.7, 0.1), (0.9, 0.1, 0.0)], id="/m/a.mp4"))
    )
    assert subtitle_text(found) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nhap 70%\n\n00:00:02.500 --> 00:00:04.000\nang 90%\n"
    )
    assert joined([(0, 1, "a"), (1.5, 2, "a")]) == [(0, 1, "a"), (1.5, 2, "a")]


def test_faces_are_named_and_markup_is_escaped() -> None:
    (found,) = by_file(result_of(prediction("a.mp4#face2", start=3723.5, end=3724.0), classes=("x", "<&>", "z")))
    assert "01:02:03.500 --> 01:02:04.000\nface2: &lt;&amp;&gt; 70%" in subtitle_text(found)
