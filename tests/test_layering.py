"""Layering rules for imports, test files for all modules, descriptive names, and few imports for `--help`.

`shared` imports no other package; `manifests`, `extract` and `train` import only `shared`; `predict` may import all of
them. The sub-packages and top-level modules of a package have no circular imports.
"""

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "shared": {"shared"},
    "manifests": {"manifests", "shared"},
    "extract": {"extract", "shared"},
    "train": {"train", "shared"},
    "predict": {"predict", "extract", "train", "manifests", "shared"},
}
UNTESTED = {
    "__init__": "contains no behaviour",
    "cli": "its commands are tested with the functions that they call",
    "errors": "declares exception classes; exit codes are tested with the commands",
    "video_reader": "declares a protocol; its implementations are tested",
}
"""Modules that need no test file of their own, with the reason."""
MIN_LINES = 40
"""Shorter modules may be tested with related modules."""
VAGUE_NAMES = frozenset({"it", "one", "some", "there", "word", "said"})
PACKAGES = [name for name in ALLOWED if (ROOT / name).is_dir()]
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
UNPACKAGED = [path for folder in ("tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]


def imported_modules(source: str, module: tuple[str, ...], *, is_package: bool) -> Iterator[tuple[str, ...]]:
    """The modules of foal that a source imports, as paths from the root: ("shared", "store", "shard").

    `module` is the path of the source itself; relative imports of any level are resolved against it.
    """
    package = module if is_package else module[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            yield from (tuple(name[1:]) for name in names if name[0] == "foal")
        elif isinstance(node, ast.ImportFrom):
            name = node.module.split(".") if node.module else []
            if node.level:
                base = [*package[: len(package) - (node.level - 1)], *name]
            elif name[0] == "foal":
                base = name[1:]
            else:
                continue
            # `from . import shard` imports a module; `from .shard import X` imports a name from one.
            yield from ((*base, alias.name) for alias in node.names)


def imports_of(path: Path) -> Iterator[tuple[str, ...]]:
    module = path.relative_to(ROOT).with_suffix("").parts
    is_package = module[-1] == "__init__"
    yield from imported_modules(
        path.read_text(encoding="utf-8"), module[:-1] if is_package else module, is_package=is_package
    )


def forbidden(source: str, module: tuple[str, ...]) -> set[str]:
    """The packages that a module imports although its own package may not."""
    packages = {imported[0] for imported in imported_modules(source, module, is_package=False)}
    return (packages & set(ALLOWED)) - ALLOWED[module[0]]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_package_imports_only_allowed_packages(path: Path) -> None:
    assert not {imported[0] for imported in imports_of(path)} & set(ALLOWED) - ALLOWED[path.relative_to(ROOT).parts[0]]


@pytest.mark.parametrize("package", PACKAGES)
def test_sub_packages_have_no_circular_imports(package: str) -> None:
    graph: dict[str, set[str]] = {}
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT / package).with_suffix("").parts
        if parts == ("__init__",):
            continue
        targets = {imported[1] for imported in imports_of(path) if imported[0] == package and len(imported) > 1}
        graph.setdefault(parts[0], set()).update(targets - {parts[0]})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"{package}: circular import {' -> '.join(error.args[1])}")


@pytest.mark.parametrize(
    ("source", "module", "expected"),
    [
        ("from ..train.run import train", ("extract", "run"), {"train"}),
        ("from ...train.run import train", ("extract", "media", "video"), {"train"}),
        ("from ... import train", ("extract", "media", "video"), {"train"}),
        ("import foal.extract.run", ("train", "fit", "loop"), {"extract"}),
        ("from foal.extract import run", ("train", "fit", "loop"), {"extract"}),
        ("def f():\n    from ..extract.run import extract", ("shared", "manifest"), {"extract"}),
        ("from ..audio.encoder import AudioEncoder", ("extract", "media", "video"), set()),
        ("from ...shared.errors import FoalError", ("extract", "media", "video"), set()),
        ("from .train import x", ("extract", "media", "video"), set()),
    ],
)
def test_a_forbidden_import_at_any_level_is_detected(source: str, module: tuple[str, ...], expected: set[str]) -> None:
    assert forbidden(source, module) == expected


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_folder_with_an_init_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {path.parent.relative_to(ROOT).parts for name in PACKAGES for path in (ROOT / name).rglob("__init__.py")}
    assert sorted(settings["tool"]["setuptools"]["packages"]) == sorted(
        ["foal", *(".".join(("foal", *parts)) for parts in folders)]
    )


def test_every_folder_with_modules_is_a_package() -> None:
    assert [path for path in MODULES if not (path.parent / "__init__.py").exists()] == []


def test_folders_and_modules_have_a_limited_size() -> None:
    checked = [*MODULES, *UNPACKAGED]
    counts = Counter(path.parent for path in checked if path.name != "__init__.py")
    # The scripts of benchmarks/ are independent of each other, and each has a test.
    limits = {ROOT / "benchmarks": 16, ROOT / "tests" / "benchmarks": 16}
    large = {folder: count for folder, count in counts.items() if count > limits.get(folder, 12)}
    assert {folder.relative_to(ROOT).as_posix(): count for folder, count in large.items()} == {}
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in checked}
    assert {path.relative_to(ROOT).as_posix(): count for path, count in lines.items() if count > 300} == {}


def is_tested(module: Path) -> bool:
    """Whether tests/a/b/test_c.py or tests/a/b/test_c_THEME.py exists for a/b/c.py."""
    folder = ROOT / "tests" / module.relative_to(ROOT).parent
    return any(folder.glob(f"test_{module.stem}.py")) or any(folder.glob(f"test_{module.stem}_*.py"))


def test_every_module_has_a_test_file() -> None:
    modules = [path for path in MODULES if path.stem not in UNTESTED]
    long = [path for path in modules if path.read_text(encoding="utf-8").count("\n") >= MIN_LINES]
    assert [path.relative_to(ROOT).as_posix() for path in long if not is_tested(path)] == []


def test_every_benchmark_has_a_test_file() -> None:
    scripts = [path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    assert len(scripts) >= 8
    assert [path.name for path in scripts if not (ROOT / "tests" / "benchmarks" / f"test_{path.name}").is_file()] == []


def vague_names(source: str) -> set[str]:
    """The variables and parameters of a source whose names are in VAGUE_NAMES."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names & VAGUE_NAMES


def test_vague_names_are_detected_in_every_kind_of_binding() -> None:
    source = "for one in []: pass\nwith open('a') as it: pass\nsaid = 1\nf = lambda some: some\n[x for word in y]"
    assert vague_names(source) == {"one", "it", "said", "some", "word"}
    assert vague_names("there.some(one=it)") == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_variables_have_descriptive_names(path: Path) -> None:
    assert vague_names(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        ("train", {"decord", "facenet_pytorch", "distributed", "torch"}),
        ("tune", {"optuna", "distributed", "torch"}),
        ("extract", {"torch", "distributed", "decord"}),
        ("manifest", {"torch", "av"}),
        ("inspect", {"torch", "h5py"}),
    ],
)
def test_help_loads_no_heavy_packages(command: str, unwanted: set[str]) -> None:
    code = (
        "import sys\nfrom foal.shared.cli.main import main\n"
        f"try: main([{command!r}, '--help'])\nexcept SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in result.stdout
    assert not unwanted & set(result.stderr.split())
