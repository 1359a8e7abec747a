"""The result of a comparison of fusion systems in words: what is better than concat, and than the best baseline."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...metrics.significance import lowest_p
from ..formatting import gain_text, p_text, percent

LEVEL = 0.05
"""Level of significance of a corrected p value."""

Row = Mapping[str, Any]


def title_of(comparison: Mapping[str, Any]) -> str:
    """The title of table and picture, with what restricts the meaning of the scores."""
    remarks = ["features per fold"] if comparison["fold_streams"] else []
    remarks += ["encoder with random weights"] if comparison["random_weights"] else []
    remarks += ["encoder saw the corpus"] if comparison["encoder_saw_corpus"] else []
    remarks += ["selected on test"] if comparison["selected_on_test"] else []
    return "Fusion systems" + (f" ({'; '.join(remarks)})" if remarks else "")


def verdict_lines(comparison: Mapping[str, Any]) -> list[str]:
    """Which rows are better than concat, logistic regression and the best baseline, and what no p value can show."""
    others = {
        "reference": ("", ""),
        "best_regression": ("", "regression_"),
        "best_baseline": ("the best baseline, ", "baseline_"),
    }
    if comparison["best_regression"] == comparison["best_baseline"]:
        del others["best_regression"]
    lines = []
    for key, (text, prefix) in others.items():
        other = row_of(comparison, comparison[key])
        lines.append(_verdict(comparison, other, f"{text}{other['name']} (UA {percent(other['ua_mean'])})", prefix))
    return [*lines, *_limits(comparison)]


def remark_lines(comparison: Mapping[str, Any]) -> list[str]:
    """The systems that were left out, each with the reason, the rows that diverged, and those that were not run."""
    lines = [f"left out: {reason}" for reason in comparison["left_out"].values()]
    lines += [f"without a row, since a fit diverged: {name}: {why}" for name, why in comparison["diverged"].items()]
    if comparison["not_run"]:
        lines.append(
            f"not run, for lack of time: {', '.join(comparison['not_run'])}; run the command again without --budget"
        )
    return lines


def row_of(comparison: Mapping[str, Any], key: str) -> Row:
    """The row with this id."""
    return next(row for row in comparison["rows"] if row["id"] == key)


def fusion_rows_of(comparison: Mapping[str, Any]) -> list[Row]:
    """The rows of fusion systems, without the baselines."""
    return [row for row in comparison["rows"] if row["fusion"] is not None]


def compared_rows(comparison: Mapping[str, Any]) -> list[Row]:
    """The rows that are compared with the best one: fusion systems, the best baseline and the best regression."""
    baselines = (comparison["best_baseline"], comparison["best_regression"])
    return [row for row in comparison["rows"] if row["fusion"] is not None or row["id"] in baselines]


def is_better(row: Row, prefix: str = "") -> bool:
    """Whether a row is better than concat, or with a prefix such as `baseline_` than that row, after Holm."""
    p = row[f"{prefix}p_holm"]
    return p is not None and p < LEVEL and row[f"{prefix}gain"] > 0


def equals_best(comparison: Mapping[str, Any], row: Row) -> bool:
    """Whether a row is the best one, or does not differ from it after Holm."""
    return row["id"] == comparison["best"] or (row["best_p_holm"] is not None and row["best_p_holm"] >= LEVEL)


def _verdict(comparison: Mapping[str, Any], other: Row, name: str, prefix: str) -> str:
    tested = [row for row in fusion_rows_of(comparison) if row[f"{prefix}p_holm"] is not None]
    if not tested:
        return f"Compared with {name}: no other row."
    family = f"Holm p < {LEVEL:g}, {len(tested)} {'row' if len(tested) == 1 else 'rows'}"
    better = [row for row in tested if is_better(row, prefix)]
    if better:
        return f"Better than {name}: {', '.join(_gain(row, prefix) for row in better)} ({family})."
    largest = max(tested, key=lambda row: row[f"{prefix}gain"])
    return f"Better than {name}: none ({family}). The largest difference: {_gain(largest, prefix)}."


def _gain(row: Row, prefix: str) -> str:
    gain = gain_text(row[f"{prefix}gain"], row[f"{prefix}gain_ci95"])
    p = p_text(row[f"{prefix}p_holm"])
    return f"{row['name']} {gain}, Holm p {p}"


def _limits(comparison: Mapping[str, Any]) -> Sequence[str]:
    """A note if so few speakers allow no small p value in so many rows."""
    rows = sum(row["p_holm"] is not None for row in fusion_rows_of(comparison))
    lowest = min(1.0, rows * lowest_p(comparison["speakers"]))
    if lowest < LEVEL or not rows:
        return []
    return [
        f"With {comparison['speakers']} speakers no Holm p of {rows} rows is below {lowest:.3g}: no difference can be "
        "significant; name fewer systems with --fusions, or read the intervals."
    ]
