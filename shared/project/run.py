"""The main flow of `foal init`: write the files of a project folder, or none of them."""

import importlib.util
import logging
from pathlib import Path

from ..errors import FoalError
from .slurm import JOB, JOB_NAME
from .template import SYNTHETIC, Preset, project_ignored, project_params, project_pipeline, with_scheduler

PACKAGE = Path(__file__).parent.parent.parent
"""The folder of the package `foal`, which contains params.yaml and dvc.yaml of the repository."""

DVC_CONFIG = """\
[core]
    analytics = false
    check_update = false
    autostage = false
{scm}[cache]
    type = "reflink,hardlink,copy"
"""
DVC_IGNORED = "/config.local\n/tmp\n/cache\n"
"""Content of .dvc/.gitignore, as `dvc init` writes it."""

log = logging.getLogger(__name__)


def init_project(folder: Path, preset: Preset, kind: str, *, force: bool = False) -> list[Path]:
    """Write params.yaml, dvc.yaml, .dvc/config, .dvcignore and .gitignore, and with the preset slurm a job file.

    An existing .gitignore is kept, and missing lines are added. DVC's own settings are kept, if there are any.

    Args:
        folder: the project folder; created if it does not exist.
        preset: of the machine.
        kind: of the corpus.
        force: replace existing files.

    Returns:
        The files that were written.

    Raises:
        FoalError: a file exists (without `force`; nothing is written then), or cannot be written.
    """
    params, pipeline = (_repository_file(name) for name in ("params.yaml", "dvc.yaml"))
    settings = project_params(params, preset, kind)
    files = {
        "params.yaml": with_scheduler(settings) if preset == "slurm" else settings,
        "dvc.yaml": project_pipeline(pipeline),
    }
    if preset == "slurm":
        files[JOB_NAME] = JOB
    if folder.exists() and not folder.is_dir():
        raise FoalError(f"{folder}: expected a folder, got a file; choose another name")
    if not force and (existing := [name for name in files if (folder / name).exists()]):
        raise FoalError(
            f"{folder}: {', '.join(existing)} exists already, and nothing was written; choose another folder, or "
            "replace with --force"
        )
    if not (folder / ".dvc" / "config").exists():
        # As `dvc init` writes them; DVC refuses to work in a folder without, and without git unless it is told so.
        scm = "" if _in_git(folder) else "    no_scm = true\n"
        files |= {".dvc/config": DVC_CONFIG.format(scm=scm), ".dvc/.gitignore": DVC_IGNORED}
    if not (folder / ".dvcignore").exists():
        files[".dvcignore"] = "__pycache__\n*.pyc\n.foal.lock\n.foal.part-*.lock\nmedia-times.csv\n"
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if _add_ignored(folder / ".gitignore"):
            files[".gitignore"] = ""
    except OSError as error:
        raise FoalError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return [folder / name for name in files]


def next_steps(folder: Path, preset: Preset, kind: str) -> list[str]:
    """What to do after `init_project`, one line each."""
    lines = [] if folder.resolve() == Path.cwd() else [f"cd {folder}"]
    if kind != SYNTHETIC:
        lines.append("edit params.yaml: corpus.root is the folder of the corpus")
    if importlib.util.find_spec("dvc") is None:
        lines.append("pip install 'dvc>=3.60': dvc is not installed in this environment")
    return [*lines, "sbatch foal.slurm" if preset == "slurm" else "dvc repro", "foal results runs/main"]


def _repository_file(name: str) -> str:
    try:
        return (PACKAGE / name).read_text(encoding="utf-8")
    except OSError as error:
        raise FoalError(f"{PACKAGE / name}: is missing from this installation ({error.strerror}); reinstall") from None


def _in_git(folder: Path) -> bool:
    path = folder.resolve()
    return any((parent / ".git").exists() for parent in (path, *path.parents))


def _add_ignored(path: Path) -> bool:
    """Add missing lines to a .gitignore; whether there were any."""
    present = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if not (added := project_ignored(present)):
        return False
    path.write_text("\n".join([*present, *added]) + "\n", encoding="utf-8")
    return True
