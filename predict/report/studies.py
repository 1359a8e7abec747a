"""Sections of studies: the table of an ablation, of a comparison of fusion systems, of a tuning."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...train.report import ablation as ablations
from ...train.report import ratings, tuning
from ...train.report.fusions import sentences
from ...train.report.fusions import tables as fusions
from .charts import bar_chart, strip_chart
from .layout import Cell, Figure, Section, Table, sort_key, text_table
from .sources import ABLATION, FUSIONS, Source

Study = Mapping[str, Any]


def study_lines(source: Source) -> list[str]:
    """The result of a study in words, then its conditions."""
    content = source.content
    if source.kind == FUSIONS:
        lines = sentences.verdict_lines(content)
        return [*lines, *sentences.remark_lines(content), ablations.conditions_line(content)]
    if source.kind == ABLATION and "target" in content:
        return [ratings.rating_verdict(content), ratings.ablation_conditions(content)]
    if source.kind == ABLATION:
        verdict = ablations.verdict_line(content)
        return [*([verdict] if verdict else []), ablations.conditions_line(content)]
    return [tuning.verdict_line(content), tuning.conditions_line(content)]


def study_title(source: Source) -> str:
    """The title of a study, with what restricts the meaning of the scores."""
    content = source.content
    if source.kind == FUSIONS:
        return sentences.title_of(content)
    if source.kind == ABLATION:
        return f"Ablation: {', '.join(content['target'])}" if "target" in content else ablations.title_of(content)
    return tuning.title_of(content)


def study_sections(source: Source) -> list[Section]:
    """The tables of a study."""
    content = source.content
    if source.kind == FUSIONS:
        return [_systems(content, fusions.table_head, fusions.table_cells, fusions.explanation_lines, content["best"])]
    if source.kind == ABLATION and "target" in content:
        rows = [ratings.ablation_cells(row) for row in content["rows"]]
        table = text_table("Systems", ratings.ablation_head(content), rows)
        return [Section(key="systems", title="Systems", tables=[table])]
    if source.kind == ABLATION:
        best = max(content["rows"], key=lambda row: -1.0 if row["selected_on_test"] else row["ua_mean"])["id"]
        return [
            _systems(content, ablations.table_head, ablations.table_cells, ablations.explanation_lines, best),
            *_recalls(content),
        ]
    return _trials(content)


def _systems(
    study: Study,
    head: Callable[[Study], Sequence[str]],
    cells: Callable[[Study, Mapping[str, Any]], Sequence[str]],
    explanation: Callable[[Study], Sequence[str]],
    best: str,
) -> Section:
    """The table of systems with a strip of each UA and its interval; the best one and the reference are bold."""
    names, limits = list(head(study)), ablations.axis_limits(study)
    reference = study.get("reference", study.get("baseline"))
    mark = next(100 * row["ua_mean"] for row in study["rows"] if row["id"] == reference)
    at = names.index("UA %") + 1
    rows = []
    for row in study["rows"]:
        texts = cells(study, row)
        strong = row["id"] in (best, reference)
        shown = [
            Cell(text=text, key=sort_key(text) if column else "", strong=strong) for column, text in enumerate(texts)
        ]
        ends = None if row["ua_ci95"] is None else [100 * end for end in row["ua_ci95"]]
        strip = strip_chart(100 * row["ua_mean"], ends, limits, mark)
        rows.append([*shown[:at], Cell(chart=strip, key=f"{row['ua_mean']:g}"), *shown[at:]])
    names.insert(at, f"UA, {limits[0]:.0f} to {limits[1]:.0f}%")
    numeric = frozenset(range(1, len(names))) - {at}
    words = [
        f"The strip shows UA with its 95% interval; the dotted line is {_name(study, reference)}. Bold: that one "
        "and the best row. A click on a heading sorts the rows."
    ]
    table = Table(caption="Systems", head=names, rows=rows, numeric=numeric)
    return Section(key="systems", title="Systems", text=[*words, *explanation(study)], tables=[table])


def _recalls(study: Study) -> list[Section]:
    """Recall of each class by system."""
    classes = study["classes"]
    rows = [
        [
            row["name"],
            *(f"{100 * recall:.1f}" for recall in (row["per_class_recall"].get(name, 0.0) for name in classes)),
        ]
        for row in study["rows"]
        if row["per_class_recall"]
    ]
    head = ["system", *(f"{name} %" for name in classes)]
    return [Section(key="recalls", title="Recall by class", tables=[text_table("Recall by class", head, rows)])]


def _trials(study: Study) -> list[Section]:
    sections = [
        Section(key="test", title="Test groups", tables=[text_table("Test groups", *tuning.test_table(study))]),
        Section(
            key="folds",
            title="Chosen trials",
            tables=[text_table("Chosen trials", *tuning.fold_table(study), names=2)],
        ),
        Section(
            key="best",
            title="Best setting",
            text=[tuning.best_note(study)],
            tables=[text_table("Best setting", *tuning.best_table(study))],
        ),
    ]
    if study.get("importance"):
        bars = [(name, share, None) for name, share in study["importance"].items()]
        caption = "Share of the variance of the development UA in percent (fANOVA)."
        figure = Figure(chart=bar_chart(bars, label="Importance"), caption=caption)
        sections.append(Section(key="importance", title="Importance of the parameters", figures=[figure]))
    table = text_table("Trials", *tuning.trial_table(study))
    sections.append(Section(key="trials", title="Trials", text=tuning.explanation_lines(study), tables=[table]))
    return sections


def _name(study: Study, key: str) -> str:
    return next(str(row["name"]) for row in study["rows"] if row["id"] == key)
