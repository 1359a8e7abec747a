"""The output folder."""

from pathlib import Path

import pytest

from foal.predict.output.folder import check_folder, write_outputs
from foal.shared.errors import FoalError, UsageError
from foal.tests.predict.output.predictions import prediction, result_of


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match=r"thesis.tex"):
        check_folder(tmp_path)
    check_folder(tmp_path, force=True)
    with pytest.raises(UsageError, match="got a file"):
        check_folder(tmp_path / "thesis.tex")


def test_a_second_prediction_replaces_the_files_of_the_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_outputs(out, result_of(prediction()), timeline=False, vtt=True, annotate=False)
    assert {path.name for path in out.iterdir()} == {"predictions.jsonl", "predictions.csv", "a.mp4.vtt"}
    check_folder(out)
    (out / "notes.txt").write_text("")
    write_outputs(out, result_of(prediction()), timeline=False, vtt=False, annotate=False)
    assert {path.name for path in out.iterdir()} == {"predictions.jsonl", "predictions.csv", "notes.txt"}


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FoalError, match="cannot be written"):
        write_outputs(tmp_path / "file" / "out", result_of(prediction()), timeline=False, vtt=False, annotate=False)
