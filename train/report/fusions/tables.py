"""The comparison of fusion systems as Markdown, CSV, LaTeX (booktabs) and a table of the terminal."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..ablation import conditions_line, score_text
from ..floor import floor_lines
from ..formatting import NONE, gain_text, interval_text, p_text, signed, table_row
from .sentences import Row, is_better, remark_lines, row_of, title_of, verdict_lines

CSV_COLUMNS = (
    *("id", "name", "fusion", "avel", "mem", "seeds", "parameters", "processor_seconds"),
    *("ua_mean", "ua_std", "ua_ci95_low", "ua_ci95_high", "wa_mean", "wa_std", "f1_mean", "f1_std"),
    *("gain", "gain_ci95_low", "gain_ci95_high", "p", "p_holm"),
    *("baseline_gain", "baseline_gain_ci95_low", "baseline_gain_ci95_high", "baseline_p", "baseline_p_holm"),
)
_TERMINAL = (0, 1, 2, 3, 6, 7, 9, 10, 11)
"""The columns of the terminal; those of files have WA, F1 and uncorrected p values, too."""
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    character: f"\\{character}" for character in "&%$#_{}"
}


def write_markdown(path: Path, comparison: Mapping[str, Any]) -> None:
    """Write fusions.md: the result in words, conditions, table, remarks, and an explanation of the columns."""
    head = table_head(comparison)
    remarks = [*remark_lines(comparison), *floor_lines(comparison), *comparison["warnings"]]
    lines = [
        f"# {title_of(comparison)}",
        "",
        *(f"{line}\n" for line in verdict_lines(comparison)),
        conditions_line(comparison),
        "",
        table_row(head),
        table_row(["---", *["---:"] * (len(head) - 1)]),
        *(table_row(table_cells(comparison, row)) for row in comparison["rows"]),
        "",
        *(f"- {remark}" for remark in remarks),
        *([""] if remarks else []),
        *explanation_lines(comparison),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def write_csv(path: Path, comparison: Mapping[str, Any]) -> None:
    """Write fusions.csv: one line per row with unrounded numbers; scores and gains are shares, not percent."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for row in comparison["rows"]:
            writer.writerow([_csv_value(row, column) for column in CSV_COLUMNS])


def write_latex(path: Path, comparison: Mapping[str, Any]) -> None:
    """Write fusions.tex: a tabular of the package booktabs, with the conditions as comments."""
    reference, baseline = comparison["reference"], row_of(comparison, comparison["best_baseline"])
    head = ["System", "Parameters", "s", "UA", "WA", "F1", "95\\% interval"]
    head += [f"Gain over {_escaped(reference)}", "$p$", "Gain over baseline", "$p$"]
    best = max(row["ua_mean"] for row in comparison["rows"])
    lines = [
        f"% {conditions_line(comparison)}",
        *(f"% {line}" for line in [*verdict_lines(comparison), *remark_lines(comparison)]),
        f"% Scores in percent; s: processor seconds per fit; baseline: {baseline['name']}; p: permutation test by "
        "speaker, Holm's correction; * better, p < 0.05. Needs \\usepackage{booktabs}.",
        "\\begin{tabular}{l" + "r" * (len(head) - 1) + "}",
        "\\toprule",
        " & ".join(head) + " \\\\",
        "\\midrule",
        *(" & ".join(_latex_cells(row, best=best)) + " \\\\" for row in comparison["rows"]),
        "\\bottomrule",
        "\\end{tabular}",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def fusions_table(comparison: Mapping[str, Any]) -> RenderableType:
    """The result in words, the table and its remarks for the terminal; concat is bold."""
    caption = conditions_line(comparison)
    table = Table(title=title_of(comparison), caption=caption, title_justify="left", caption_justify="left")
    head = table_head(comparison)
    for number in _TERMINAL:
        table.add_column(Text(head[number]), justify="right" if number else "left")
    for row in comparison["rows"]:
        cells = table_cells(comparison, row)
        style = "bold" if row["id"] == comparison["reference"] else None
        table.add_row(*(Text(cells[number]) for number in _TERMINAL), style=style)
    first = (Text(line, style="bold") for line in verdict_lines(comparison))
    remarks = [*remark_lines(comparison), *floor_lines(comparison)]
    warnings = [f"warning: {warning}" for warning in comparison["warnings"]]
    return Group(*first, table, *map(Text, [*remarks, *warnings]))


def table_head(comparison: Mapping[str, Any]) -> list[str]:
    """The names of the columns."""
    baseline = row_of(comparison, comparison["best_baseline"])["name"]
    return [
        *("system", "parameters", "processor s per fit", "UA %", "WA %", "F1 %", "95% interval of UA, by speaker"),
        *(f"gain over {comparison['reference']}", "p", "Holm p"),
        *(f"gain over {baseline}", "Holm p"),
    ]


def table_cells(comparison: Mapping[str, Any], row: Row) -> list[str]:
    """The cells of a row, in the order of `table_head`."""
    mark = "*" if is_better(row) else ""
    seconds, parameters = row["processor_seconds"], row["parameters"]
    return [
        row["name"] + (" (best baseline)" if row["id"] == comparison["best_baseline"] else mark),
        NONE if parameters is None else f"{parameters:,.0f}",
        NONE if seconds is None else f"{seconds:.1f}",
        score_text(row, "ua"),
        score_text(row, "wa"),
        score_text(row, "f1"),
        interval_text(row["ua_ci95"]),
        _gain(row, ""),
        p_text(row["p"]),
        p_text(row["p_holm"]),
        _gain(row, "baseline_"),
        p_text(row["baseline_p_holm"]),
    ]


def _gain(row: Row, prefix: str) -> str:
    gain = row[f"{prefix}gain"]
    return NONE if gain is None else gain_text(gain, row[f"{prefix}gain_ci95"])


def explanation_lines(comparison: Mapping[str, Any]) -> list[str]:
    """What the columns mean."""
    return [
        "Rows are sorted by UA. Intervals are 95% intervals of the mean UA over resampled speakers (bootstrap, with "
        "Student's t for the number of speakers); the interval of a gain, in brackets, uses the same speakers for both "
        "rows. The value after ± is the sample standard deviation over seeds.",
        "p is the two-sided p value of a paired permutation test by speaker. Holm p is corrected for all rows of "
        "fusion systems in this table, and so depends on their number. * marks what is better than "
        f"{comparison['reference']} (Holm p < 0.05).",
        "The best baseline is chosen by the UA of this table, which favours it: gains over it are too small rather "
        "than too large. parameters are the weights of the network; those that compare pairs for MEM are always among "
        "them. processor s is the median over folds and seeds.",
    ]


def _csv_value(row: Row, column: str) -> Any:
    for end, suffix in enumerate(("_low", "_high")):
        if column.endswith(suffix):
            interval = row[column.removesuffix(suffix)]
            return "" if interval is None else interval[end]
    value = row[column]
    return "" if value is None else value


def _latex_cells(row: Row, *, best: float) -> list[str]:
    ua = score_text(row, "ua").replace("±", "$\\pm$")
    parameters, seconds = row["parameters"], row["processor_seconds"]
    return [
        _escaped(row["name"]),
        "--" if parameters is None else f"{parameters:,.0f}".replace(",", "\\,"),
        "--" if seconds is None else f"{seconds:.1f}",
        f"\\textbf{{{ua}}}" if row["ua_mean"] == best else ua,
        *(score_text(row, score).replace("±", "$\\pm$") for score in ("wa", "f1")),
        "--" if row["ua_ci95"] is None else interval_text(row["ua_ci95"]).replace(" to ", "--"),
        *_latex_gain(row, ""),
        *_latex_gain(row, "baseline_"),
    ]


def _latex_gain(row: Row, prefix: str) -> Sequence[str]:
    """Gain with its interval in math mode, so that minus signs are set as such, and the corrected p value."""
    gain, ends, p = row[f"{prefix}gain"], row[f"{prefix}gain_ci95"], row[f"{prefix}p_holm"]
    if gain is None:
        return ["--", "--"]
    interval = "" if ends is None else " \\, [{}, {}]".format(*map(signed, ends))
    star = "^{*}" if is_better(row, prefix) else ""
    value = "--" if p is None else f"${p_text(p)}$"
    return [f"${signed(gain)}{star}{interval}$", value]


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)
