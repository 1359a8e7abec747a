"""metrics.json is read, titled and shown, without PyTorch and matplotlib."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foal.shared.errors import FoalError
from foal.train.report.results import read_metrics, run_title, write_json

TITLE: dict[str, Any] = {
    "modalities": "both",
    "avel": True,
    "mem": True,
    "compat": [],
    "selected_on_test": False,
    "random_weights": False,
}


def test_json_is_indented_and_never_contains_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "é", "values": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "é", "values": [1, None]}
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "b.json", {"score": float("nan")})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected the folder of a finished run, found no metrics.json"),
        ("{", "got invalid JSON"),
        ("[]", "got other JSON"),
        ('{"n": 3}', "runs of older versions have to be trained again"),
    ],
)
def test_files_that_are_not_metrics_are_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(FoalError, match=message):
        read_metrics(tmp_path)


def test_the_title_contains_losses_and_reasons_for_unusable_scores() -> None:
    assert run_title(TITLE) == "audio and face + AVEL + MEM"
    assert run_title({**TITLE, "modalities": "face", "avel": False, "mem": False}) == "face"
    flags = {"compat": ["sum"], "selected_on_test": True, "random_weights": True}
    assert run_title({**TITLE, **flags}).endswith(" (compat: sum; selected on test; encoder with random weights)")


def test_a_run_that_is_not_there_is_no_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(FoalError, match="absent: no such run") as error:
        read_metrics(tmp_path / "absent")
    assert error.value.exit_code == 1


@pytest.mark.parametrize("module", ["train.report.results", "train.compare.run_list", "train.report.run_folder"])
def test_finished_runs_are_read_without_heavy_packages(module: str) -> None:
    code = f"import sys, foal.{module}\nprint('\\n'.join(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert f"foal.{module}" in modules
    assert not {"torch", "matplotlib", "scipy", "sklearn", "h5py"} & set(modules)
