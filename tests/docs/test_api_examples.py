"""The documentation's Python and YAML blocks are valid; its files, links, options and settings keys exist."""

import contextlib
import io
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import typer

from foal.extract.schedule import failures
from foal.shared.config.renamed import RENAMED_KEYS, RENAMED_OPTIONS
from foal.shared.config.settings import load_settings, settings_field

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PAGES_AND_CHANGELOG = [*PAGES, ROOT / "CHANGELOG.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
FOLDERS = ("shared", "manifests", "extract", "train", "tests", "docs", "benchmarks")
FILE = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*\w\.(?:py|md|yaml)(?:, \w+\.py)*")
FOLDER = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w/-]*)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
KEY = re.compile(r"(?:corpus|synth|cluster|extract|train)(?:\.[a-z_]+)+")
OTHER_PROGRAMS = {"--gpus-per-task", "--no-nanny", "--nthreads", "--replicas"}
"""Options of other programs that the text mentions."""
REMOVED = {"answers.py"}
"""Files of earlier versions that the decisions mention."""


def blocks(page: Path, language: str) -> list[str]:
    return [content for name, content in BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


def page_names(pages: list[Path]) -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages]


@cache
def options_of_commands() -> dict[str, set[str]]:
    from foal.shared.cli.main import app

    group = typer.main.get_command(app)
    context = typer.Context(group)
    options = {}
    for name in group.list_commands(context):  # type: ignore[attr-defined]
        command = group.get_command(context, name)  # type: ignore[attr-defined]
        options[name] = {text for option in command.params for text in (*option.opts, *option.secondary_opts)}
        options[name] |= {"--help", "-h"}
    options[""] = {text for option in group.params for text in (*option.opts, *option.secondary_opts)}
    return options


CLUSTER_PAGE = ROOT / "docs" / "howto" / "run-on-a-cluster.md"
"""test_cluster_files.py runs its files, which are for other programs."""
PAGES_WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page != CLUSTER_PAGE]
PAGES_WITH_YAML = [page for page in PAGES if blocks(page, "yaml") and page != CLUSTER_PAGE]


@pytest.mark.parametrize("page", page_names(PAGES_WITH_PYTHON))
def test_python_blocks_run_in_order(
    page: str, example_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(example_folder, tmp_path / "folder")
    monkeypatch.chdir(folder)
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for number, block in enumerate(blocks(ROOT / page, "python"), start=1):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block, f"{page}, block {number}", "exec"), vars(module))


@pytest.mark.parametrize("page", page_names(PAGES_WITH_YAML))
def test_yaml_blocks_are_valid_settings(page: str, tmp_path: Path) -> None:
    for block in blocks(ROOT / page, "yaml"):
        if "distributed:" in block:  # a configuration of Dask
            continue
        params = tmp_path / "params.yaml"
        params.write_text(block, encoding="utf-8")
        load_settings(params)


@pytest.mark.parametrize("page", page_names(PAGES))
def test_files_in_the_text_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    missing = []
    for match in FILE.findall(text):
        first, *siblings = match.split(", ")
        files = [ROOT / first, *((ROOT / first).with_name(name) for name in siblings)]
        missing += [str(file.relative_to(ROOT)) for file in files if not file.exists() and "NAME" not in file.name]
    missing += [folder for folder in FOLDER.findall(text) if not (ROOT / folder).exists()]
    assert [name for name in missing if Path(name).name not in REMOVED] == []


@pytest.mark.parametrize("page", page_names(PAGES_AND_CHANGELOG))
def test_relative_links_point_to_files(page: str) -> None:
    text = BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
    targets = [target for target in LINK.findall(text) if "://" not in target]
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


@pytest.mark.parametrize("page", page_names(PAGES))
def test_commands_and_options_in_the_text_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    shell = [line for block in blocks(ROOT / page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    inline = INLINE.findall(BLOCK.sub("", text))
    known = options_of_commands()
    all_options = set.union(*known.values())
    unknown = []
    for line in (*shell, *inline):
        words = line.split("#")[0].split()
        if words[:1] == ["foal"] and words[1:] and re.fullmatch(r"[a-z]+", words[1]):
            if words[1] not in known:
                unknown.append(line)
                continue
            allowed = known[words[1]] | known[""]
        elif line in inline and line.startswith("--"):
            allowed = all_options | OTHER_PROGRAMS
        else:
            continue
        unknown += [f"{line}: {option}" for option in OPTION.findall(" ".join(words)) if option not in allowed]
    assert unknown == []


@pytest.mark.parametrize("page", page_names(PAGES))
def test_settings_keys_in_the_text_exist(page: str) -> None:
    text = BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
    unknown = []
    for code in INLINE.findall(text):
        key = code.partition(":")[0].partition("=")[0]
        if not KEY.fullmatch(key) or key.endswith((".py", ".csv", ".json", ".yaml")):
            continue
        try:
            settings_field(key)
        except KeyError:
            unknown.append(code)
    assert unknown == []


def test_failures_columns_are_described() -> None:
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    section = text[text.index("## failures.csv") : text.index("## Run folder")]
    assert all(f"`{column}`" in section for column in failures.COLUMNS)


def test_every_page_of_the_site_is_in_its_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in sorted((ROOT / "docs").rglob("*.md"))]
    assert [page for page in pages if f": {page}\n" not in navigation] == []


def test_changelog_lists_every_renamed_key_and_option() -> None:
    names_in_text = set(INLINE.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))
    renamed = dict(RENAMED_KEYS)
    for options in RENAMED_OPTIONS.values():
        renamed.update({old: new for old, new in options.items() if not old.startswith("--no-")})
    assert [old for old, new in renamed.items() if not {old, new} <= names_in_text] == []
