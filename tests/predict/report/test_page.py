import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from foal.predict.report.cli import PAGE_NAME, report
from foal.predict.report.layout import Clip, Page, Score, Section, text_table
from foal.predict.report.page import build_page, render, write_report
from foal.predict.report.sources import Source
from foal.shared.config.settings import Settings
from foal.shared.errors import UsageError
from foal.train.ablate.run import OUR_FILES as ABLATION_FILES
from foal.train.evaluate.run import OUR_FILES as EVALUATION_FILES
from foal.train.report.formatting import interval_text, percent
from foal.train.report.run_folder import REPORT_FILE
from foal.train.run import OUR_FILES as RUN_FILES
from foal.train.tune.run import OUR_FILES as TUNING_FILES

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(1)>'


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.urls: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


def test_every_text_is_escaped() -> None:
    clip = Clip(
        name=HOSTILE, truth=HOSTILE, predicted=HOSTILE, confidence=HOSTILE, shares=[], details=[HOSTILE],
        transcript=HOSTILE, note=HOSTILE,
    )  # fmt: skip
    section = Section(
        key="mistakes", title=HOSTILE, text=[HOSTILE], clips=[clip], facts={HOSTILE: HOSTILE}, commands=[HOSTILE],
        listing=HOSTILE, tables=[text_table(HOSTILE, [HOSTILE], [[HOSTILE]])],
    )  # fmt: skip
    scores = [Score(name=HOSTILE, value=HOSTILE, below=[HOSTILE])]
    page = Page(
        title=HOSTILE, subtitle=HOSTILE, scores=scores, lines=[HOSTILE], warnings=[HOSTILE], sections=[section]
    )  # fmt: skip
    tags = parsed(render(page))
    assert tags.tags.count("script") == 1
    assert "img" not in tags.tags
    assert tags.handlers == []


def test_the_page_loads_nothing_and_its_policy_forbids_it(page: Path) -> None:
    html = page.read_text()
    tags = parsed(html)
    assert all(url.startswith(("data:", "#")) for url in tags.urls)
    assert tags.handlers == []
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    rules = policy.group(1).replace("&#39;", "'")
    assert rules.startswith("default-src 'none'; ")
    assert "http" not in rules
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content.group(1).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in rules


def test_the_headline_has_the_numbers_of_the_run(source: Source, settings: Settings, tmp_path: Path) -> None:
    built = build_page(source, settings, tmp_path / "r.html", media="none", count=0)
    ua = built.scores[0]
    assert ua.value == f"{percent(source.content['ua_mean'])}%"
    assert ua.below[0] == f"95% interval {interval_text(source.content['ua_ci95'])}"
    assert "loso-nested" in built.lines[0]
    assert [warning for warning in built.warnings if warning.startswith("random weights")] == [
        warning for warning in source.content["warnings"] if warning.startswith("random weights")
    ]
    assert "mistakes" not in [section.key for section in built.sections]


def test_equal_inputs_give_equal_bytes(page: Path, source: Source, settings: Settings) -> None:
    before = page.read_bytes()
    write_report(page, source, settings, media="embed", count=5, required=True)
    assert page.read_bytes() == before


def test_a_report_is_replaced_and_other_files_only_with_force(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "r.html"
    out.write_text("mine")
    options: dict[str, Any] = {"media": "none", "count": 0, "required": False}
    with pytest.raises(UsageError, match="is not a report"):
        write_report(out, source, settings, **options)
    size = write_report(out, source, settings, **options, force=True)
    assert out.stat().st_size == size
    write_report(out, source, settings, **options)
    with pytest.raises(UsageError, match="got a folder"):
        write_report(tmp_path, source, settings, **options)


def test_results_of_other_versions_are_one_sentence(source: Source, settings: Settings, tmp_path: Path) -> None:
    content = {name: value for name, value in source.content.items() if name != "confusion"}
    with pytest.raises(UsageError, match="without 'confusion'; run the command") as refused:
        write_report(
            tmp_path / "r.html", replace(source, content=content), settings, media="none", count=0, required=False
        )
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "r.html").exists()


def test_the_command_writes_into_the_folder_of_the_run_and_the_run_stays_replaceable(
    run: Path, settings: Settings, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    app = typer.Typer(add_completion=False)
    app.command()(report)
    arguments = [tmp_path / "run", "--features", settings.index, "--root", settings.corpus.root, "--json"]
    shown = CliRunner().invoke(
        app, [*map(str, arguments), "--media", "link", "--mistakes", "2"], catch_exceptions=False
    )
    assert shown.exit_code == 0, shown.output
    page = tmp_path / "run" / REPORT_FILE
    assert json.loads(shown.output.splitlines()[-1]) == {
        "report": str(page),
        "bytes": page.stat().st_size,
        "kind": "run",
    }
    html = page.read_text()
    assert html.count("<audio") == 2
    assert "media-src data: file: &#39;self&#39;" in html
    assert REPORT_FILE == PAGE_NAME
    assert all(REPORT_FILE in files for files in (RUN_FILES, ABLATION_FILES, EVALUATION_FILES, TUNING_FILES))
