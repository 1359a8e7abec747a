"""The self-test passes here, and reports the step that fails."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.predict.doctor.self_test import SelfTest, run_steps

Foal = Callable[..., subprocess.CompletedProcess[str]]
STEPS = ["decode", "detect", "encode", "store", "train"]


@pytest.mark.slow
def test_every_step_runs_and_the_command_ends_with_zero(foal_here: Foal, tmp_path: Path) -> None:
    result = foal_here("doctor", "--json")
    report = json.loads(result.stdout.splitlines()[-1])
    assert (result.returncode, report["passed"]) == (0, True), result.stdout
    tested = {f["check"]: f for f in report["findings"] if f["check"].startswith("self-test: ")}
    assert list(tested) == [f"self-test: {name}" for name in STEPS]
    assert all(finding["level"] == "OK" for finding in tested.values())
    assert "4 of 4 images with a face" in tested["self-test: detect"]["text"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_ends_with_one(foal_here: Foal) -> None:
    result = foal_here("doctor", "--no-self-test", "--features-dir", "/proc/features")
    assert result.returncode == 1
    assert "failure  write test" in result.stdout
    assert "self-test" not in result.stdout


def test_steps_after_a_failure_are_not_run() -> None:
    def broken() -> str:
        raise OSError("no disk")

    found = list(run_steps([("first", lambda: "done"), ("second", broken), ("third", broken)]))
    assert [finding.level for finding in found] == ["OK", "failure", "warning"]
    assert found[1].text == "OSError: no disk"
    assert found[2].remedy == "solve the failure of second first"


def test_a_clip_without_a_face_and_broken_features_fail(tmp_path: Path) -> None:
    black = [np.zeros((240, 320, 3), np.uint8)]
    with pytest.raises(ValueError, match="MTCNN found no face"):
        SelfTest(folder=tmp_path, images=black).detect()
    silent = np.zeros((3, 4), np.float32)
    assert "3 shards and an index" in SelfTest(folder=tmp_path, features={"audio": silent}).store()
