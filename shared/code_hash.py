"""Hashes of the code behind each stage of the DVC pipeline: they change with the computation, not with its wording."""

import ast
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path

from .files.atomic import replaced_atomically
from .files.overwrite import check_overwrite

ROOT = Path(__file__).parent.parent
"""The folder of the package `foal`."""

STAGES: Mapping[str, str] = {
    "corpus": "manifests.run",
    "manifest": "manifests.run",
    "extract": "extract.run",
    "index": "extract.maintenance.index",
    "train": "train.run",
}
"""The module that each stage runs. Its imports, and theirs, belong to the stage."""

PRESENTATION = (
    "shared.cli",
    "shared.errors",
    "shared.text",
    "extract.maintenance.stale_report",
    "extract.schedule.estimate",
    "extract.schedule.progress",
    "extract.schedule.summary",
    "train.report.plots",
    "train.report.progress",
)
"""Modules and packages that print and draw; they change no number."""

MAX_BYTES = 1 << 16
"""A larger file is not one of code hashes."""

WORDING = frozenset({"description", "help", "metavar"})
"""Keyword arguments that are shown to users only."""


def code_hashes() -> dict[str, str]:
    """The hash of each stage's code, with everything of foal that it imports.

    Comments, docstrings, layout, log messages, error messages and descriptions of settings do not count.
    """
    result = {}
    for stage, start in STAGES.items():
        digest = blake2b(digest_size=8)
        for module in sorted(_closure(start).items()):
            digest.update(json.dumps(module).encode())
        result[stage] = digest.hexdigest()
    return result


def write_code_hashes(path: Path, *, force: bool = False) -> None:
    """Write the hashes of all stages as JSON.

    Args:
        path: the file.
        force: replace a file that is not one of these.

    Raises:
        UsageError: `path` exists and is another file.
        FoalError: it cannot be written.
    """
    check_overwrite(path, kind="a file of code hashes", is_ours=_is_ours, force=force)
    with replaced_atomically(path) as temporary:
        temporary.write_text(json.dumps(code_hashes(), indent=2) + "\n")


def _is_ours(path: Path) -> bool:
    with suppress(OSError, ValueError, AttributeError, RecursionError):
        return path.is_file() and path.stat().st_size < MAX_BYTES and set(STAGES) <= json.loads(path.read_text()).keys()
    return False


def modules_of(stage: str) -> set[str]:
    """The modules that belong to a stage, such as `shared.timing`."""
    return set(_closure(STAGES[stage]))


def normalized(source: str) -> str:
    """Python source without what changes no result: comments, docstrings, layout, messages and descriptions."""
    return ast.unparse(_Normalizer().visit(ast.parse(source)))


class _Normalizer(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) or _is_log_call(node.value):
            return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in WORDING]
        return self.generic_visit(node)


def _is_log_call(node: ast.expr) -> bool:
    """Whether an expression is `log.info(...)` or the like."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "log"
    )


def _closure(start: str) -> dict[str, str]:
    """The normalized sources of `start` and of what it imports, directly and indirectly, without PRESENTATION."""
    found: dict[str, str] = {}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        path = _path_of(module)
        if module in found or path is None or _is_presentation(module):
            continue
        is_package = path.name == "__init__.py"
        found[module], imports = _read(path.read_text(encoding="utf-8"), module, is_package=is_package)
        waiting += imports
    return found


@cache
def _read(source: str, module: str, *, is_package: bool) -> tuple[str, tuple[str, ...]]:
    """The normalized source, and what it imports from foal; several stages share modules."""
    tree = ast.parse(source)
    imports = tuple(_imports(tree, module, is_package=is_package))
    return ast.unparse(_Normalizer().visit(tree)), imports


def _is_presentation(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in PRESENTATION)


def _path_of(module: str) -> Path | None:
    """The file of a module or package of foal; None for a name in a module, or for another package."""
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[str]:
    """What a module imports from foal: modules, and names in them, which are modules too if they have a file."""
    parts = module.split(".")
    package = parts if is_package else parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            name = node.module.split(".") if node.module else []
            if node.level:
                name = [*package[: len(package) - node.level + 1], *name]
            elif name[:1] == ["foal"]:
                name = name[1:]
            else:
                continue
            yield from _with_names(name, (alias.name for alias in node.names))


def _with_names(module: list[str], names: Iterable[str]) -> Iterator[str]:
    if module:
        yield ".".join(module)
    yield from (".".join([*module, name]) for name in names)
