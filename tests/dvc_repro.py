"""Runs `dvc repro` in a project, with the `foal` of this checkout as the command of its stages."""

import os
import subprocess
import sys
from pathlib import Path

LAUNCHER = f"#!{sys.executable}\nfrom foal.shared.cli.main import main\n\nmain()\n"


def stages_run(project: Path, *targets: str) -> list[str]:
    """Run `dvc repro` with these targets; return the stages that it has run."""
    programs = project.with_name("programs")
    programs.mkdir(exist_ok=True)
    (programs / "foal").write_text(LAUNCHER)
    (programs / "foal").chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", *targets],
        cwd=project,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return [line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")]
