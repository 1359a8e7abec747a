"""The complete workflow of commands, and the wheel."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parent.parent
PACKAGES = ("shared", "manifests", "extract", "train", "predict")
SETTINGS = """
corpus: {{kind: synthetic, root: {root}, manifest: manifests/corpus.csv}}
extract: {{chunk_seconds: 20, face: {{fps: 2}}}}
train: {{epochs: 2, width: 32, bootstrap: 50}}
"""
PACKAGE_DATA = ("py.typed", "params.yaml", "dvc.yaml")


@pytest.mark.slow
def test_the_commands_lead_from_a_corpus_to_results(
    foal: Foal, foal_here: Foal, synthetic_corpus: Path, tmp_path: Path, scheduler: str
) -> None:
    (tmp_path / "params.yaml").write_text(SETTINGS.format(root=synthetic_corpus))
    for command in (
        ["manifest"],
        ["extract", "--split", "all", "--scheduler", scheduler],
        ["verify"],
        ["inspect", "feats.h5"],
    ):
        result = foal_here(*command)
        assert result.returncode == 0, result.stderr
    assert "random weights" in result.stdout
    assert "20 utterances" in result.stdout

    # Without --out, the folder name consists of head, streams, protocol and a hash of the configuration.
    run_folders = {}
    for run, modalities in ((foal, "both"), (foal_here, "audio"), (foal_here, "face")):
        result = run("train", "--features", "feats.h5", "--modalities", modalities)
        assert result.returncode == 0, result.stderr
        assert "random weights" in result.stdout
        streams = "audio+face" if modalities == "both" else modalities
        (run_folder,) = (tmp_path / "runs").glob(f"foalnet-{streams}-loso-nested-????????")
        run_folders[modalities] = run_folder
        assert f"results: runs/{run_folder.name}" in result.stdout
        metrics = json.loads((run_folder / "metrics.json").read_text())
        assert 0 <= metrics["ua_mean"] <= 1
        assert [fold["test"] for fold in metrics["folds"]] == [f"session{n}" for n in range(1, 6)]
        with (run_folder / "predictions.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len({row["id"] for row in rows}) == 20
        for row in rows:
            assert abs(sum(float(row[f"p_{label}"]) for label in metrics["classes"]) - 1) < 1e-3
        assert len(list(run_folder.glob("models/*/model.safetensors"))) == 5
        for plot in ("confusion.png", "learning.png"):
            assert (run_folder / plot).read_bytes().startswith(b"\x89PNG")
    assert f"results: {run_folders['face']}" in foal_here("results", run_folders["face"]).stdout

    packed = foal_here("index", "--pack", "-o", "elsewhere/packed.h5")
    assert packed.returncode == 0, packed.stderr
    result = foal_here("train", "--features", "elsewhere/packed.h5", "--out", "runs/packed")
    assert result.returncode == 0, result.stderr
    # Trained on the shards in a separate process, and on the packed file in this process.
    folders = (run_folders["both"], tmp_path / "runs" / "packed")
    shards, pack = (json.loads((folder / "metrics.json").read_text()) for folder in folders)
    assert shards == pack

    next((tmp_path / "features").rglob("audio-*/*.h5")).unlink()
    result = foal_here("train", "--features", "feats.h5", "--out", "runs/broken")
    assert result.returncode == 1
    assert "no such shard" in result.stderr
    assert not (tmp_path / "runs" / "broken").exists()
    assert foal_here("verify").returncode == 1


def test_the_wheel_contains_all_modules_and_can_be_imported_from_any_folder(tmp_path: Path) -> None:
    source, installed, empty = tmp_path / "source", tmp_path / "installed", tmp_path / "empty"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.csv"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "__init__.py", "MANIFEST.in", *PACKAGE_DATA):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*build, "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        modules = {name for name in archive.namelist() if name.endswith(".py")}
        archive.extractall(installed)
    sources = [ROOT / "__init__.py", *(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))]
    assert modules == {f"foal/{path.relative_to(ROOT).as_posix()}" for path in sources}
    for name in PACKAGE_DATA:
        assert (installed / "foal" / name).is_file()

    empty.mkdir()
    code = (
        "import sys\nfrom foal.shared.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*{m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'foal'}, sep='\\n', file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(line.startswith(f"{installed}/foal/") for line in result.stderr.split()), result.stderr
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for command in project["entry-points"]["foal.commands"]:
        assert f" {command} " in result.stdout
