"""The page: all sections of a source, rendered into one HTML file that loads nothing."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ...shared.config.settings import Settings
from ...shared.errors import UsageError
from ...shared.files.atomic import replaced_atomically
from ...shared.files.overwrite import check_overwrite
from ...shared.text import counted
from ...train.report.floor import floor_lines
from ...train.report.formatting import interval_text, percent, signed
from ...train.report.ratings import rating_text
from ...train.report.results import run_title
from .gallery import mistakes_section
from .layout import Page, Score
from .provenance import provenance_section
from .scores import score_sections
from .sources import EVALUATION, RUN, TUNING, Source
from .studies import study_lines, study_sections, study_title

MARK = "foal report"
"""Generator of the page, in its head; a file with it may be replaced."""


def write_report(
    out: Path, source: Source, settings: Settings, *, media: str, count: int, required: bool, force: bool = False
) -> int:
    """Write the page.

    Args:
        out: the HTML file.
        source: what it shows.
        settings: index and corpus root for media of the gallery.
        media: "embed", "link" or "none".
        count: number of mistakes in the gallery.
        required: the index was named, so that another one than the run's is an error.
        force: replace a file that is no report.

    Returns:
        Its size in bytes.

    Raises:
        UsageError: `out` may not be replaced, or the files are of another version.
    """
    check_report(out, force=force)
    try:
        page = build_page(source, settings, out, media=media, count=count, required=required)
    except KeyError as error:
        raise UsageError(
            f"{source.folder}: expected results of this version, got some without {error}; run the command that wrote "
            "them again"
        ) from error
    data = render(page).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    with replaced_atomically(out) as temporary:
        temporary.write_bytes(data)
    return len(data)


def check_report(out: Path, *, force: bool) -> None:
    """Raise UsageError if `out` is a folder or another file than a report."""
    if out.is_dir():
        raise UsageError(f"{out}: expected the HTML file to write, got a folder; name a file with --out")
    check_overwrite(out, kind="a report", is_ours=_is_report, force=force)


def build_page(
    source: Source, settings: Settings, out: Path, *, media: str, count: int, required: bool = False
) -> Page:
    """All parts of the page of a source."""
    content = source.content
    warnings = _warnings(content["warnings"], source.evaluation.get("warnings", []))
    provenance = provenance_section(source, index=str(settings.index))
    if source.kind in (RUN, EVALUATION):
        gallery = mistakes_section(source, settings, out, mode=media, count=count, required=required)
        return Page(
            title=run_title(content),
            subtitle=("Evaluation of " if source.kind == EVALUATION else "Run ") + str(source.folder),
            scores=_run_scores(content),
            lines=[_conditions(content), *floor_lines(content), *source.notes],
            warnings=warnings,
            sections=[*score_sections(source), *([gallery] if gallery else []), provenance],
        )
    return Page(
        title=study_title(source),
        subtitle=f"Study {source.folder}",
        scores=_study_scores(source),
        lines=[*study_lines(source), *floor_lines(content)],
        warnings=warnings,
        sections=[*study_sections(source), provenance],
    )


def render(page: Page) -> str:
    """The page as HTML; every text is escaped, and the policy of the page allows its own style and script only."""
    folder = files(__package__) / "templates"
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("style.css", "page.js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    linked = any(clip.sound and not clip.sound.startswith("data:") for part in page.sections for clip in part.clips)
    policy = [
        "default-src 'none'",
        f"style-src '{_hash(style)}'",
        f"script-src '{_hash(script)}'",
        "img-src data:",
        "media-src data: file: 'self'" if linked else "media-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return template.render(
        page=page,
        mark=MARK,
        policy="; ".join(policy),
        style=Markup(style),
        script=Markup(script),
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        return f'<meta name="generator" content="{MARK}">'.encode() in file.read(4096)


def _warnings(first: Sequence[str], more: Sequence[str]) -> list[str]:
    """Warnings without those that repeat the subject of an earlier one, the words before its colon."""
    subjects = {warning.partition(":")[0] for warning in first}
    return [*first, *(warning for warning in more if warning.partition(":")[0] not in subjects)]


def _conditions(metrics: Mapping[str, Any]) -> str:
    seeds = metrics["seeds"]
    shown = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds ({', '.join(map(str, seeds))})"
    line = f"Protocol {metrics['protocol']}; {counted(metrics['n'], 'utterance')}; {shown}; "
    line += f"features {metrics['features'][:8]}"
    sessions = metrics.get("sessions", ["all"])
    return line + ("" if sessions == ["all"] else f"; only {', '.join(sessions)}")


def _run_scores(metrics: Mapping[str, Any]) -> list[Score]:
    scores = []
    if "ua_mean" in metrics:
        for key, name in (("ua", "UA"), ("wa", "WA"), ("f1", "F1")):
            ends = metrics.get(f"{key}_ci95")
            below = [] if ends is None else [f"95% interval {interval_text(ends)}"]
            if metrics.get(f"{key}_std") is not None:
                below.append(f"± {percent(metrics[f'{key}_std'])} over seeds")
            scores.append(Score(name=name, value=f"{percent(metrics[f'{key}_mean'])}%", below=below))
        classes = len(metrics["classes"])
        scores.append(Score(name="Chance", value=f"{percent(1 / classes)}%", below=[f"UA of {classes} classes"]))
    for dimension, part in metrics.get("ratings", {}).get("dimensions", {}).items():
        ends = part["ccc_ci95"]
        below = [] if ends is None else [f"95% interval {rating_text(ends)}"]
        scores.append(Score(name=f"CCC {dimension}", value=rating_text(part["ccc_mean"]), below=below))
    return scores


def _study_scores(source: Source) -> list[Score]:
    content = source.content
    if source.kind == TUNING:
        return [
            _row_score("tuned settings, nested", content["tuned"]),
            _row_score("current settings", content["current"]),
            Score(name="Gain", value=signed(content["gain"])),
        ]
    if "target" in content:
        return []
    rows = {row["id"]: row for row in content["rows"]}
    names = [content.get("best"), (content["verdict"] or {}).get("system") if "verdict" in content else None]
    names += [content.get("best_baseline"), (content.get("verdict") or {}).get("baseline"), content.get("reference")]
    shown = list(dict.fromkeys(name for name in names if name))
    scores = [_row_score(rows[name]["name"], rows[name]) for name in shown]
    classes = len(content["classes"])
    return [*scores, Score(name="Chance", value=f"{percent(1 / classes)}%", below=[f"UA of {classes} classes"])]


def _row_score(name: str, row: Mapping[str, Any]) -> Score:
    below = [] if row.get("ua_ci95") is None else [f"95% interval {interval_text(row['ua_ci95'])}"]
    return Score(name=f"UA, {name}", value=f"{percent(row['ua_mean'])}%", below=below)
