"""Predictions as tables."""

import csv
import io
import json
from pathlib import Path

from rich.console import Console

from foal.predict.output.prediction import ClipPredictions, Failed
from foal.predict.output.tables import MAX_ROWS, failure_lines, prediction_table, write_tables
from foal.tests.predict.output.predictions import prediction, result_of, windows


def shown(result: ClipPredictions) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(prediction_table(result))
    return console.export_text()


def test_the_terminal_shows_percent_and_what_is_missing() -> None:
    text = shown(result_of(prediction(missing={"face": "no face found"}, note="short")))
    assert "a.mp4" in text
    assert "70.0" in text
    assert "no face (no face found); short" in text
    assert "label" not in text
    assert "seconds" not in text
    assert "label" in shown(result_of(prediction(truth="sad")))


def test_windows_are_shown_with_their_times_and_left_out_first() -> None:
    assert "1.00-3.00" in shown(result_of(prediction(), *windows(2)))
    text = shown(result_of(prediction(), *windows(MAX_ROWS)))
    assert "1.00-3.00" not in text
    assert f"{MAX_ROWS} more rows with --out or --json" in text


def test_the_files_have_a_line_per_row(tmp_path: Path) -> None:
    failed = Failed(name="b.mp4", media="/m/b.mp4", reason="no such file")
    result = result_of(
        prediction(truth="sad", note="a, b", ratings={"valence": 2.5}),
        *windows(2, ratings={"valence": 3.0}),
        failures=[failed],
        ratings=("valence",),
    )
    assert [path.name for path in write_tables(tmp_path, result)] == [
        "predictions.jsonl",
        "predictions.csv",
        "failures.csv",
    ]
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["part"] for line in lines] == ["clip", "window", "window"]
    with (tmp_path / "predictions.csv").open(newline="") as file:
        first, *_ = csv.DictReader(file)
    assert (first["label"], first["predicted"], first["valence"], first["note"]) == ("sad", "hap", "2.5", "a, b")
    assert abs(float(first["p_hap"]) - 0.7) < 1e-6
    assert failure_lines([failed]) == ["b.mp4: no such file"]
