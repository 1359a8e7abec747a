import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from foal.predict.report.sources import ABLATION, EVALUATION, FUSIONS, RUN, read_source
from foal.shared.errors import UsageError

STUDY: dict[str, Any] = {
    "protocol": "",
    "features": "",
    "seeds": [],
    "rows": [],
    "warnings": [],
    "settings": {},
    "verdict": None,
}


def test_a_run_has_its_evaluation_history_and_predictions(run: Path) -> None:
    source = read_source(run)
    assert source.kind == RUN
    assert source.evaluation["per_speaker"]
    assert {row["seed"] for row in source.history} == {"0", "1"}
    assert len(source.predictions) == 40
    assert source.metadata["settings"]["epochs"] == 2
    assert read_source(run / "metrics.json") == source


def test_an_evaluation_has_the_predictions_of_its_run(run: Path, tmp_path: Path) -> None:
    source = read_source(run / "evaluation")
    assert source.kind == EVALUATION
    assert source.evaluation == source.content
    assert len(source.predictions) == 40
    shutil.copytree(run / "evaluation", tmp_path / "alone")
    assert not read_source(tmp_path / "alone").predictions


def test_an_evaluation_of_another_run_is_left_out(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run" / "evaluation" / "metrics.json"
    evaluation = json.loads(file.read_text())
    evaluation["run"]["folds_digest"] = "0"
    file.write_text(json.dumps(evaluation))
    source = read_source(tmp_path / "run")
    assert not source.evaluation
    assert "of another run" in source.notes[0]
    assert not read_source(tmp_path / "run" / "evaluation").predictions


def test_studies_are_known_by_their_file(tmp_path: Path) -> None:
    (tmp_path / "ablation.json").write_text(json.dumps(STUDY))
    assert read_source(tmp_path).kind == ABLATION
    (tmp_path / "fusions.json").write_text(json.dumps({**STUDY, "best": "", "best_baseline": ""}))
    assert read_source(tmp_path).kind == FUSIONS
    assert read_source(tmp_path / "ablation.json").kind == ABLATION


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, "", "got a folder without them"),
        ("metrics.json", "{", "damaged file"),
        ("metrics.json", "[]", "expected a JSON object"),
        ("metrics.json", '{"accuracy": 1}', "got other JSON"),
        ("fusions.json", "{}", "run the command again"),
    ],
)
def test_anything_else_is_one_sentence(tmp_path: Path, name: str | None, content: str, message: str) -> None:
    if name:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message) as refused:
        read_source(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_folder_and_another_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got nothing"):
        read_source(tmp_path / "nowhere")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="got another file"):
        read_source(tmp_path / "notes.txt")
