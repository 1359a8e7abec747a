"""`shared` knows nobody; the other rooms know `shared` only; nothing heavy is imported before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("shared", "manifests", "extract", "train")
MODULES = [path for room in ROOMS for path in sorted((ROOT / room).glob("*.py"))]


def rooms_imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == 2:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= set(node.module.split(".")[1:2]) if node.module.startswith("foal") else set()
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("foal.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_room_knows_shared_only(path: Path) -> None:
    allowed = set() if path.parent.name == "shared" else {"shared"}
    assert rooms_imported(path) <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        ("train", {"decord", "facenet_pytorch", "distributed", "torch"}),
        ("extract", {"torch", "distributed", "decord"}),
        ("manifest", {"torch", "av"}),
        ("inspect", {"torch", "h5py"}),
    ],
)
def test_help_loads_nothing_heavy(command: str, unwanted: set[str]) -> None:
    code = (
        "import sys\nfrom foal.shared.cli.main import main\n"
        f"try: main([{command!r}, '--help'])\nexcept SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert not unwanted & set(done.stderr.split())
