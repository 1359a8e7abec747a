"""A finished run is read from its folder; the refusals of damaged files are in test_pooled.py."""

from pathlib import Path

import pytest

from foal.shared.errors import UsageError
from foal.train.compare.finished_run import merged_warnings, read_run, read_settings


def test_a_run_has_its_settings_and_its_predictions(two_runs: Path) -> None:
    run = read_run(two_runs / "runs" / "both" / "metrics.json")
    assert run.folder == two_runs / "runs" / "both"
    assert run.settings["streams"] == ["audio", "face"]
    assert len(run.predictions) == run.metrics["n"] == 18
    assert run.predictions.predicted.shape == (2, 18)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"settings": {}}'])
def test_settings_that_cannot_be_read_are_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=r"run\.json: expected the settings of the run, found none"):
        read_settings(tmp_path)


def test_a_warning_names_its_runs_unless_all_have_it() -> None:
    assert merged_warnings({"a": ["x", "y"], "b": ["x"], "c": ["x", "z"]}) == ["x", "a: y", "c: z"]
