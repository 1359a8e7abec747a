import csv
from pathlib import Path

from rich.console import Console

from foal.tests.train.report.fusions.example_comparison import example_comparison
from foal.train.report.fusions.tables import CSV_COLUMNS, fusions_table, write_csv, write_latex, write_markdown


def test_markdown_contains_words_table_and_remarks(tmp_path: Path) -> None:
    write_markdown(tmp_path / "a.md", example_comparison())
    lines = (tmp_path / "a.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# Fusion systems"
    assert lines[2].startswith("Better than concat (UA 70.0): tfn + AVEL")
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {13}
    assert table[2] == (
        "| tfn + AVEL* | 12,345 | 2.3 | 75.0 ± 1.2 | 74.0 | 73.0 | 72.0 to 79.0 | +5.0 (+3.0 to +6.0) | <0.001 | 0.001 "
        "| +3.0 (+0.0 to +4.0) | 0.030 |"
    )
    assert table[4].startswith("| mean_100% (best baseline) | - | 2.3 | 72.0 |")
    assert table[4].endswith("| - | - | - |")
    assert table[5].startswith("| concat | 12,345 | 2.3 | 70.0 ± 1.2 | 69.0 | 68.0 | 67.0 to 74.0 | - | - | - |")
    assert any(line.startswith("- left out: text-gate") for line in lines)
    assert "- session 3 is short" in lines


def test_the_terminal_has_the_words_first(tmp_path: Path) -> None:
    console = Console(width=240, record=True, file=(tmp_path / "out").open("w"))
    console.print(fusions_table(example_comparison()))
    console.file.close()
    text = console.export_text()
    assert text.startswith("Better than concat (UA 70.0): tfn + AVEL")
    for expected in ("12,345", "+3.0 (+0.0 to +4.0)", "mean_100% (best baseline)", "warning: session 3 is short"):
        assert expected in text


def test_csv_has_unrounded_numbers(tmp_path: Path) -> None:
    comparison = example_comparison()
    write_csv(tmp_path / "a.csv", comparison)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["id"] for row in rows] == [row["id"] for row in comparison["rows"]]
    assert float(rows[1]["ua_mean"]) == 0.7312
    assert (rows[0]["gain_ci95_low"], rows[0]["parameters"]) == (str(0.75 - 0.72), "12345")
    assert (rows[3]["gain"], rows[3]["gain_ci95_high"], rows[3]["p_holm"]) == ("", "", "")


def test_latex_is_a_tabular_with_escaped_names(tmp_path: Path) -> None:
    write_latex(tmp_path / "a.tex", example_comparison())
    lines = (tmp_path / "a.tex").read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if not line.startswith("%")]
    assert code[:2] == ["\\begin{tabular}{lrrrrrrrrrr}", "\\toprule"]
    assert code[-2:] == ["\\bottomrule", "\\end{tabular}"]
    body = code[code.index("\\midrule") + 1 : -2]
    assert {line.count(" & ") for line in [code[2], *body]} == {10}
    assert all(line.endswith(" \\\\") for line in [code[2], *body])
    assert body[0].startswith("tfn + AVEL & 12\\,345 & 2.3 & \\textbf{75.0 $\\pm$ 1.2} & 74.0 &")
    assert "$+5.0^{*} \\, [+3.0, +6.0]$ & $0.001$" in body[0]
    assert body[2].startswith("mean\\_100\\% & -- & 2.3 & 72.0 &")
    assert all(line.count("$") % 2 == 0 for line in body)
    assert body[-1].count("\\textbf") == 0
