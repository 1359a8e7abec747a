"""`foal init`: a folder in which `dvc repro` runs, with git and without."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from foal.shared.errors import FoalError
from foal.shared.project.run import init_project, next_steps
from foal.tests.dvc_repro import stages_run

Foal = Callable[..., subprocess.CompletedProcess[str]]


def test_the_command_writes_the_files_and_says_what_is_next(foal_here: Foal, tmp_path: Path) -> None:
    result = foal_here("init", "--preset", "slurm", "--corpus", "iemocap", "project")
    assert (result.returncode, result.stderr) == (0, "")
    names = {path.relative_to(tmp_path / "project").as_posix() for path in (tmp_path / "project").rglob("*")}
    assert {"params.yaml", "dvc.yaml", "foal.slurm", ".dvc/config", ".dvcignore", ".gitignore"} <= names
    assert "project/params.yaml: written" in result.stdout
    assert "  cd project\n  edit params.yaml: corpus.root" in result.stdout
    assert "  sbatch foal.slurm\n" in result.stdout
    assert foal_here("init", "--corpus", "klingon").returncode == 2
    assert foal_here("init", "--preset", "phone").returncode == 2


def test_existing_files_are_kept_without_force(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("mine")
    (tmp_path / ".gitignore").write_text("*.pyc\n/runs/\n")
    with pytest.raises(FoalError, match=r"dvc\.yaml exists already, and nothing was written; .* --force"):
        init_project(tmp_path, "laptop", "synthetic")
    assert not (tmp_path / "params.yaml").exists()
    init_project(tmp_path, "laptop", "synthetic", force=True)
    assert "stages:" in (tmp_path / "dvc.yaml").read_text()
    ignored = (tmp_path / ".gitignore").read_text().splitlines()
    assert ignored[:2] == ["*.pyc", "/runs/"]
    assert len(ignored) == len(set(ignored))
    written = init_project(tmp_path, "laptop", "synthetic", force=True)
    assert [path.name for path in written] == ["params.yaml", "dvc.yaml"]
    (tmp_path / "file").touch()
    with pytest.raises(FoalError, match="expected a folder, got a file"):
        init_project(tmp_path / "file", "laptop", "synthetic")


def test_git_is_used_where_there_is_a_repository(tmp_path: Path) -> None:
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    init_project(tmp_path / "repository" / "inner", "laptop", "synthetic")
    init_project(tmp_path / "plain", "laptop", "synthetic")
    assert "no_scm" not in (tmp_path / "repository" / "inner" / ".dvc" / "config").read_text()
    assert "no_scm = true" in (tmp_path / "plain" / ".dvc" / "config").read_text()
    assert next_steps(tmp_path, "laptop", "synthetic") == [f"cd {tmp_path}", "dvc repro", "foal results runs/main"]


@pytest.mark.slow
def test_dvc_runs_the_stages_once(tmp_path: Path, synthetic_corpus: Path) -> None:
    """As far as the manifest and without git; tests/test_pipeline.py runs all stages, in a git repository."""
    project = tmp_path / "project"
    project.mkdir()
    init_project(project, "laptop", "synthetic")
    shutil.copytree(synthetic_corpus, project / "data" / "synthetic")
    params = project / "params.yaml"
    params.write_text(
        params.read_text().replace("utterances: 160", "utterances: 20").replace("seed: 2024", "seed: 7", 1)
    )

    assert stages_run(project, "manifest") == ["code", "corpus", "manifest"]
    assert len((project / "manifests" / "corpus.csv").read_text().splitlines()) > 20
    assert stages_run(project, "manifest") == ["code"]
