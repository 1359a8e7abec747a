import pytest

from foal.tests.train.report.fusions.example_comparison import example_comparison, row
from foal.train.report.fusions.sentences import equals_best, is_better, remark_lines, title_of, verdict_lines


def test_the_first_lines_name_what_is_better_after_correction() -> None:
    assert verdict_lines(example_comparison()) == [
        "Better than concat (UA 70.0): tfn + AVEL +5.0 (+3.0 to +6.0), Holm p 0.001, tfn +3.1 (+1.1 to +4.1), "
        "Holm p 0.001 (Holm p < 0.05, 3 rows).",
        "Better than late (UA 65.0): tfn + AVEL +10.0 (+7.0 to +15.0), Holm p 0.030, tfn +8.1 (+5.1 to +13.1), "
        "Holm p 0.030, concat +5.0 (+2.0 to +10.0), Holm p 0.030 (Holm p < 0.05, 4 rows).",
        "Better than the best baseline, mean_100% (UA 72.0): tfn + AVEL +3.0 (+0.0 to +4.0), Holm p 0.030 "
        "(Holm p < 0.05, 4 rows).",
    ]


def test_the_best_baseline_is_named_once_if_it_is_logistic_regression() -> None:
    first, second = verdict_lines(example_comparison(best_regression="mean_100%"))
    assert first.startswith("Better than concat")
    assert second.startswith("Better than the best baseline, mean_100%")


def test_without_a_better_row_the_largest_difference_is_named() -> None:
    comparison = example_comparison()
    for entry in comparison["rows"]:
        entry.update({key: 0.05 for key in ("p_holm", "baseline_p_holm") if entry[key] is not None})
    first, _, second = verdict_lines(comparison)
    assert first.startswith(
        "Better than concat (UA 70.0): none (Holm p < 0.05, 3 rows). The largest difference: tfn + A"
    )
    assert "none (Holm p < 0.05, 4 rows). The largest difference: tfn + AVEL +3.0" in second


def test_a_significant_loss_is_not_better() -> None:
    assert not is_better(row("cross-attention", 0.6, p_holm=0.001))
    assert is_better(row("tfn", 0.71, p_holm=0.049))
    assert not is_better(row("tfn", 0.71, p_holm=0.05))
    assert not is_better(row("concat", 0.71, p_holm=None))


@pytest.mark.parametrize(("speakers", "lowest"), [(6, "0.0938"), (2, "1")])
def test_too_few_speakers_for_so_many_rows_are_mentioned(speakers: int, lowest: str) -> None:
    lines = verdict_lines(example_comparison(speakers=speakers))
    assert lines[3].startswith(f"With {speakers} speakers no Holm p of 3 rows is below {lowest}: ")
    assert "--fusions" in lines[3]


def test_only_concat_has_no_other_row() -> None:
    comparison = example_comparison()
    comparison["rows"] = [entry for entry in comparison["rows"] if entry["id"] in ("concat", "mean_100%", "late")]
    assert verdict_lines(comparison)[0] == "Compared with concat (UA 70.0): no other row."


def test_systems_without_a_row_are_listed() -> None:
    left_out, not_run = remark_lines(example_comparison())
    assert left_out == "left out: text-gate needs a text stream, got audio, face; add text to train.streams"
    assert not_run == "not run, for lack of time: tfn + MEM; run the command again without --budget"
    assert remark_lines(example_comparison(left_out={}, not_run=[])) == []
    diverged = example_comparison(left_out={}, not_run=[], diverged={"mfn + MEM": "fold 2, epoch 3: got NaN"})
    assert remark_lines(diverged) == ["without a row, since a fit diverged: mfn + MEM: fold 2, epoch 3: got NaN"]


def test_rows_that_equal_the_best_one() -> None:
    comparison = example_comparison()
    assert [entry["id"] for entry in comparison["rows"] if equals_best(comparison, entry)] == ["tfn+AVEL", "tfn"]


def test_the_title_contains_what_restricts_the_scores() -> None:
    assert title_of(example_comparison()) == "Fusion systems"
    restricted = example_comparison(random_weights=True, selected_on_test=True)
    assert title_of(restricted) == "Fusion systems (encoder with random weights; selected on test)"
