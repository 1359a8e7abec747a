"""The hash of a stage's code changes with the computation, and not with comments, docstrings and messages."""

import json
import shutil
from pathlib import Path

import pytest

import foal.shared.code_hash as code_hash
from foal.shared.code_hash import PRESENTATION, STAGES, code_hashes, modules_of, normalized, write_code_hashes
from foal.shared.config.loading import parse_yaml
from foal.shared.errors import UsageError

ROOT = Path(__file__).parent.parent.parent
SOURCE = '''
"""Module."""

import logging

log = logging.getLogger(__name__)
RATE = 50
"""Frames per second."""


def rate(x: int) -> int:
    """Double."""
    # A comment.
    log.info("doubling %d", x)
    if x < 0:
        raise ValueError(f"expected a positive number, got {x}")
    return Field(x, description="a number") * 2
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""Double."""', '"""Twice."""', True),
        ('    """Double."""\n', "", True),
        ("# A comment.", "# Another comment.", True),
        ('"""Frames per second."""', '"""Hz."""', True),
        ('    log.info("doubling %d", x)\n', "", True),
        ("expected a positive number, got", "got a negative number:", True),
        ("a number", "a factor", True),
        ("Field(x, description", "Field(\n        x,\n        description", True),
        ("* 2", "* 3", False),
        ("RATE = 50", "RATE = 25", False),
        ("x < 0", "x <= 0", False),
        ("ValueError", "TypeError", False),
    ],
)
def test_only_the_computation_counts(old: str, new: str, same: bool) -> None:
    changed = SOURCE.replace(old, new)
    assert changed != SOURCE
    assert (normalized(changed) == normalized(SOURCE)) is same


def test_a_stage_contains_what_its_module_imports() -> None:
    train, extract = modules_of("train"), modules_of("extract")
    assert {"train.run", "train.model.foalnet", "train.metrics.classification", "shared.store.index_reader"} <= train
    # Imported in functions, by the workers.
    assert {"extract.schedule.chunk", "extract.audio.encoder", "extract.face.pipeline", "shared.timing"} <= extract
    assert not any(module.startswith("extract.") for module in train)
    for name in PRESENTATION:
        path = ROOT.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), f"{name} does not exist"
        assert not {module for module in train | extract if module == name or module.startswith(f"{name}.")}


def test_a_change_of_shared_code_changes_the_stages_that_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("extract", "manifests", "shared", "train"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.csv"))
    before = code_hashes()
    monkeypatch.setattr(code_hash, "ROOT", tmp_path)
    assert code_hashes() == before
    for name, changed in (
        ("shared/cli/main.py", set()),
        ("train/model/foalnet.py", {"train"}),
        ("extract/audio/encoder.py", {"extract"}),
        ("shared/utterance.py", set(STAGES)),
    ):
        path = tmp_path / name
        source = path.read_text()
        path.write_text(f"{source}\nADDED = 1\n")
        after = code_hashes()
        assert {stage for stage in STAGES if after[stage] != before[stage]} == changed, name
        path.write_text(source)


def test_the_file_of_hashes_replaces_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "code.json"
    write_code_hashes(path)
    assert json.loads(path.read_text()) == code_hashes()
    write_code_hashes(path)
    path.write_text("[]")
    with pytest.raises(UsageError, match="a file of code hashes"):
        write_code_hashes(path)
    write_code_hashes(path, force=True)


def test_the_pipeline_hashes_every_module() -> None:
    stages = parse_yaml((ROOT / "dvc.yaml").read_text())["stages"]
    listed = set(stages["code"]["deps"])
    used = {path for path in (ROOT / "manifests").rglob("*.py") if path.name != "__init__.py"}
    folders = {ROOT / name for name in listed}
    missing = [path.relative_to(ROOT).as_posix() for path in used if folders.isdisjoint({path, *path.parents})]
    assert not missing, f"add to the deps of the stage `code` in dvc.yaml: {missing}"
    assert {"extract", "shared", "train"} <= listed
    assert all((ROOT / name).exists() for name in listed)
    assert set(STAGES) == set(stages) - {"code"}
    for name in STAGES:
        assert {"code.json": [name]} in stages[name]["params"]
