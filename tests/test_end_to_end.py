"""The complete workflow of commands, the DVC pipeline run twice, and the wheel."""

import csv
import json
import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path
from unittest.mock import patch

import pytest
from distributed import LocalCluster

from foal.shared.config.loading import parse_yaml
from foal.shared.files.lock import LOCK_NAME
from foal.shared.files.media_state import MEDIA_TIMES

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parent.parent
PACKAGES = [name for name in ("shared", "manifests", "extract", "train", "predict") if (ROOT / name).is_dir()]
SETTINGS = """
corpus: {{kind: synthetic, root: {root}, manifest: manifests/corpus.csv}}
synth: {{utterances: 20, seed: 7}}
extract: {{chunk_seconds: 20, face: {{fps: 2}}}}
train: {{epochs: 2, width: 32, bootstrap: 50}}
"""
STAGES = ["code", "corpus", "manifest", "extract", "index", "train"]
PACKAGE_DATA = ("py.typed", "params.yaml", "dvc.yaml")
DVC = [sys.executable, "-m", "dvc"]
LAUNCHER = f"#!{sys.executable}\nfrom foal.shared.cli.main import main\n\nmain()\n"


@pytest.mark.slow
def test_the_commands_lead_from_a_corpus_to_results(
    foal: Foal, foal_here: Foal, synthetic_corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(SETTINGS.format(root=synthetic_corpus))
    for run, command in (
        (foal_here, ["manifest"]),
        (foal, ["extract", "--split", "all"]),
        (foal_here, ["verify"]),
        (foal_here, ["inspect", "feats.h5"]),
    ):
        result = run(*command)
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


def test_the_pipeline_persists_shards_and_does_not_track_the_corpus() -> None:
    stages = parse_yaml((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == STAGES
    assert stages["extract"]["outs"] == [{"${extract.features_dir}": {"persist": True}}]
    assert stages["corpus"]["outs"] == ["corpus.json"]
    assert stages["extract"]["cmd"] == "foal extract --split all --no-index || test $? -eq 3"
    assert "corpus.root" not in json.dumps([stage.get("outs") for stage in stages.values()])
    # Written to the features folder by other stages, or during a run.
    assert {LOCK_NAME, MEDIA_TIMES} <= set((ROOT / ".dvcignore").read_text().split())


@pytest.fixture
def cremad_corpus(tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    """Seven actors with three clips each, in the layout of CREMA-D: there are no sessions."""
    root = tmp_path / "cremad"
    (root / "VideoFlash").mkdir(parents=True)
    for actor in range(1001, 1008):
        for frames, emotion in ((6, "ANG"), (8, "HAP"), (10, "SAD")):
            make_video(root / "VideoFlash" / f"{actor}_DFA_{emotion}_XX.mp4", frames=frames, audio_hz=16000)
    return root


@pytest.mark.slow
def test_dvc_repro_runs_what_has_changed(tmp_path: Path, synthetic_corpus: Path, cremad_corpus: Path) -> None:
    """In a copy of foal's sources, with the real commands on PATH and two kinds of corpus, one after the other."""
    synthetic = shutil.copytree(synthetic_corpus, tmp_path / "synthetic")
    clone, commands = tmp_path / "clone", tmp_path / "bin"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "*.csv"))
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config"):
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    commands.mkdir()
    (commands / "foal").write_text(LAUNCHER)
    (commands / "foal").chmod(0o755)
    params = parse_yaml((ROOT / "params.yaml").read_text())
    for section, changes in parse_yaml(SETTINGS.format(root=synthetic)).items():
        params[section] |= changes

    def repro() -> list[str]:
        """The stages that have run."""
        (clone / "params.yaml").write_text(json.dumps(params))
        result = subprocess.run(
            [*DVC, "repro"],
            cwd=clone,
            env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return [line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")]

    def metrics() -> dict[str, float]:
        values: dict[str, float] = json.loads((clone / "runs" / "main" / "metrics.json").read_text())
        return values

    def splits() -> set[str]:
        return {path.name for path in (clone / "features").iterdir() if path.is_dir()}

    subprocess.run(["git", "init", "-q"], cwd=clone, check=True)
    # Dask changes the environment of this process and does not restore it.
    with patch.dict(os.environ):
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with cluster:
        params["cluster"]["scheduler"] = cluster.scheduler_address
        assert repro() == STAGES
        assert metrics()["ua_mean"] >= 0
        assert metrics()["n"] == 20
        sessions = {f"session{n}" for n in range(1, 6)}
        assert splits() == sessions

        # Changes to cluster settings, or after which the index was written again, rerun no stage. The commands belong
        # to this checkout: a changed file of the copy changes no hash.
        params["cluster"]["workers"] = 2
        (clone / "features" / MEDIA_TIMES).write_text("media,fingerprint,content\n")
        with (clone / "extract" / "cli.py").open("a") as file:
            file.write("# A comment.\n")
        assert repro() == ["code"]

        # Another corpus, which has no sessions and no transcripts.
        params["corpus"] |= {"kind": "cremad", "root": str(cremad_corpus)}
        params["extract"]["face"]["region"] = "frame"
        params["extract"]["streams"] = ["audio", "face"]
        assert repro() == STAGES[1:]
    assert metrics()["n"] == 21
    assert splits() == {*sessions, "crema-d"}


def test_dvc_sends_no_analytics() -> None:
    config = ConfigParser()
    config.read_string(textwrap.dedent((ROOT / ".dvc" / "config").read_text()))
    assert config["core"]["analytics"] == "false"


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
