from pathlib import Path
from typing import Any

from foal.predict.report.sources import ABLATION, FUSIONS, Source
from foal.predict.report.studies import study_lines, study_sections, study_title
from foal.tests.train.report.fusions.example_comparison import example_comparison
from foal.tests.train.report.test_ablation import example_ablation
from foal.train.report.ablation import table_cells


def study(kind: str, content: dict[str, Any]) -> Source:
    return Source(kind=kind, folder=Path("study"), content=content)


def test_an_ablation_shows_the_cells_of_its_markdown() -> None:
    content = example_ablation()
    (section,) = [section for section in study_sections(study(ABLATION, content)) if section.key == "systems"]
    (table,) = section.tables
    for row, shown in zip(content["rows"], table.rows, strict=True):
        assert [cell.text for cell in shown if cell.chart is None] == table_cells(content, row)
        assert [cell.key for cell in shown if cell.chart is not None] == [f"{row['ua_mean']:g}"]
    assert study_lines(study(ABLATION, content))[0].startswith("Foal-Net: UA 73.1; best baseline (mean | linear)")


def test_the_best_row_without_selection_on_test_and_the_reference_are_bold() -> None:
    (section, *_) = study_sections(study(ABLATION, example_ablation()))
    strong = [row[0].text for row in section.tables[0].rows if row[0].strong]
    assert strong == ["A+V fusion", "Foal-Net"]


def test_the_strip_and_names_are_not_numeric() -> None:
    (section, *_) = study_sections(study(ABLATION, example_ablation()))
    (table,) = section.tables
    drawn = [column for column, cell in enumerate(table.rows[0]) if cell.chart is not None]
    assert table.numeric == frozenset(range(len(table.head))) - {0, *drawn}


def test_a_comparison_of_fusions_begins_with_its_verdict() -> None:
    source = study(FUSIONS, example_comparison())
    assert study_lines(source)[0].startswith("Better than concat")
    assert study_title(source).startswith("Fusion systems")
    (section,) = study_sections(source)
    assert len(section.tables[0].rows) == len(source.content["rows"])
    assert len(section.text) > 1
