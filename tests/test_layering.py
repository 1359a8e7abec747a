"""The layering rules, kept over the imports; tests mirror modules; plain names; `--help` imports nothing heavy.

`shared` imports no other package; `manifests`, `extract` and `train` import only `shared`; `predict` may import all of
them. Inside a package, the sub-packages and the modules beside them never import each other in a circle.
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
    "cli": "its commands are tested by what they run",
    "errors": "declares exception classes; exit codes are tested with the commands",
    "video_reader": "declares a protocol; its implementations are tested",
}
"""Modules without a test file of their name, and why."""
MIN_LINES = 40
"""Shorter modules may be tested with their neighbours."""
VAGUE_NAMES = frozenset({"it", "one", "some", "there", "word", "said"})
PACKAGES = [name for name in ALLOWED if (ROOT / name).is_dir()]
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
UNPACKAGED = [path for folder in ("tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]


def imported_modules(source: str, module: tuple[str, ...], *, is_package: bool) -> Iterator[tuple[str, ...]]:
    """The modules of foal that a source imports, as paths from the root: ("shared", "store", "shard").

    `module` is the place of the source itself; a relative import of any level is resolved against it.
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
    found = {imported[0] for imported in imported_modules(source, module, is_package=False)}
    return (found & set(ALLOWED)) - ALLOWED[module[0]]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_package_imports_only_the_packages_that_it_may(path: Path) -> None:
    assert not {imported[0] for imported in imports_of(path)} & set(ALLOWED) - ALLOWED[path.relative_to(ROOT).parts[0]]


@pytest.mark.parametrize("package", PACKAGES)
def test_sub_packages_never_import_each_other_in_a_circle(package: str) -> None:
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
        pytest.fail(f"{package}: circle {' -> '.join(error.args[1])}")


@pytest.mark.parametrize(
    ("source", "module", "found"),
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
def test_a_breach_at_any_depth_is_found(source: str, module: tuple[str, ...], found: set[str]) -> None:
    assert forbidden(source, module) == found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_folder_with_an_init_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {path.parent.relative_to(ROOT).parts for name in PACKAGES for path in (ROOT / name).rglob("__init__.py")}
    assert sorted(settings["tool"]["setuptools"]["packages"]) == sorted(
        ["foal", *(".".join(("foal", *parts)) for parts in found)]
    )


def test_every_folder_with_modules_is_a_package() -> None:
    assert [path for path in MODULES if not (path.parent / "__init__.py").exists()] == []


def test_no_folder_is_crowded_and_no_module_is_long() -> None:
    checked = [*MODULES, *UNPACKAGED]
    counts = Counter(path.parent for path in checked if path.name != "__init__.py")
    assert {folder.relative_to(ROOT).as_posix(): count for folder, count in counts.items() if count > 12} == {}
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in checked}
    assert {path.relative_to(ROOT).as_posix(): count for path, count in lines.items() if count > 300} == {}


def is_tested(module: Path) -> bool:
    """Whether tests/a/b/test_c.py or tests/a/b/test_c_THEME.py exists for a/b/c.py."""
    folder = ROOT / "tests" / module.relative_to(ROOT).parent
    return any(folder.glob(f"test_{module.stem}.py")) or any(folder.glob(f"test_{module.stem}_*.py"))


def test_every_module_has_a_test_file_of_its_name() -> None:
    modules = [path for path in MODULES if path.stem not in UNTESTED]
    long = [path for path in modules if path.read_text(encoding="utf-8").count("\n") >= MIN_LINES]
    assert [path.relative_to(ROOT).as_posix() for path in long if not is_tested(path)] == []


def test_every_benchmark_has_a_test_of_its_name() -> None:
    scripts = [path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    assert len(scripts) >= 8
    assert [path.name for path in scripts if not (ROOT / "tests" / "benchmarks" / f"test_{path.name}").is_file()] == []


def vague_names(source: str) -> set[str]:
    """The variables and parameters of a source that are called by a pronoun or the like."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names & VAGUE_NAMES


def test_vague_names_are_found_wherever_a_name_is_bound() -> None:
    source = "for one in []: pass\nwith open('a') as it: pass\nsaid = 1\nf = lambda some: some\n[x for word in y]"
    assert vague_names(source) == {"one", "it", "said", "some", "word"}
    assert vague_names("there.some(one=it)") == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_variables_have_telling_names(path: Path) -> None:
    assert vague_names(path.read_text(encoding="utf-8")) == set()


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
