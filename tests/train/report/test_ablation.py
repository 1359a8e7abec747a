import copy
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from rich.console import Console

from foal.train.report.ablation import ablation_table, plot_ablation, write_markdown


def row(key: str, name: str, ua: float, **values: Any) -> dict[str, Any]:
    return {
        "id": key,
        "name": name,
        "description": "",
        "protocol": "loso-nested",
        "selected_on_test": False,
        "seeds": 3,
        "ua_mean": ua,
        "ua_std": 0.0123,
        "wa_mean": ua - 0.01,
        "wa_std": 0.02,
        "f1_mean": ua - 0.02,
        "ua_ci95": [ua - 0.03, ua + 0.04],
        "wa_ci95": None,
        "per_class_recall": {},
        "epoch_mean": 7.0,
        "seconds": 3.0,
        "gain": ua - 0.7,
        "gain_ci95": [ua - 0.72, ua - 0.69],
        "p": 0.0312,
    } | values


def example_ablation(**values: Any) -> dict[str, Any]:
    return {
        "protocol": "loso-nested",
        "selected_on_test": False,
        "features": "0123456789abcdef" * 4,
        "folds_digest": "fedcba9876543210" * 4,
        "seeds": [1, 2, 3],
        "classes": ["ang", "hap", "neu", "sad"],
        "n": 5531,
        "speakers": 10,
        "random_weights": False,
        "versions": "torch 2.11.0",
        "baseline": "fusion",
        "warnings": ["session 3 is short"],
        "verdict": {"system": "foal", "baseline": "mean", "gain": 0.0316, "gain_ci95": [0.011, 0.052], "p": 0.004},
        "rows": [
            row("fusion", "A+V fusion", 0.7),
            row("foal", "Foal-Net", 0.7312, p=0.0004),
            row("mean", "mean | linear", 0.6996, ua_std=None, wa_std=None, seeds=1, gain_ci95=None),
            row("test", "Foal-Net, last epoch", 0.75, selected_on_test=True),
            row("prior", "majority [class]", 0.25, ua_std=None, wa_std=None, ua_ci95=None, gain=None, p=None),
        ],
    } | values


def lines_of(path: Path, ablation: dict[str, Any]) -> list[str]:
    write_markdown(path, ablation)
    return path.read_text(encoding="utf-8").splitlines()


def test_markdown_contains_a_table_and_notes(tmp_path: Path) -> None:
    lines = lines_of(tmp_path / "ablation.md", example_ablation())
    assert lines[0] == "# Ablation"
    assert lines[2] == (
        "Foal-Net: UA 73.1; best baseline (mean | linear): 70.0; difference +3.2 (+1.1 to +5.2), p 0.004"
    )
    assert lines[4] == (
        "Protocol loso-nested; features 01234567; folds fedcba98; seeds 1, 2, 3; 5531 utterances; 10 speakers; "
        "torch 2.11.0"
    )
    assert lines[6:13] == [
        "| system | UA % | WA % | F1 % | 95% interval of UA, by speaker | gain over A+V fusion | p |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| A+V fusion | 70.0 ± 1.2 | 69.0 ± 2.0 | 68.0 | 67.0 to 74.0 | - | - |",
        "| Foal-Net | 73.1 ± 1.2 | 72.1 ± 2.0 | 71.1 | 70.1 to 77.1 | +3.1 (+1.1 to +4.1) | <0.001 |",
        "| mean \\| linear | 70.0 | 69.0 | 68.0 | 67.0 to 74.0 | +0.0 | 0.031 |",
        "| Foal-Net, last epoch (selected on test) | 75.0 ± 1.2 | 74.0 ± 2.0 | 73.0 | 72.0 to 79.0 | "
        "+5.0 (+3.0 to +6.0) | 0.031 |",
        "| majority [class] | 25.0 | 24.0 | 23.0 | - | - | - |",
    ]
    assert lines[13:16] == ["", "- session 3 is short", ""]
    notes = " ".join(lines[16:])
    assert "p cannot be below" not in notes
    for expected in ("95% intervals", "standard deviation over seeds", "paired permutation", "A+V fusion"):
        assert expected in notes


def test_random_weights_and_selection_on_test_are_in_the_header(tmp_path: Path) -> None:
    ablation = example_ablation(random_weights=True, selected_on_test=True, warnings=[], verdict=None, speakers=4)
    lines = lines_of(tmp_path / "a.md", ablation)
    assert lines[0] == "# Ablation (encoder with random weights)"
    assert lines[2].startswith("Protocol loso-nested, selected on test; ")
    assert not any(line.startswith("- ") for line in lines)
    assert lines[-1] == "With 4 speakers p cannot be below 0.125."


def test_every_line_of_the_table_has_the_same_number_of_cells(tmp_path: Path) -> None:
    lines = lines_of(tmp_path / "a.md", example_ablation())
    assert {line.replace("\\|", "").count("|") for line in lines if line.startswith("|")} == {8}


def test_the_printed_table_contains_the_cells_of_the_markdown_table(tmp_path: Path) -> None:
    ablation = example_ablation(random_weights=True)
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    console.print(ablation_table(ablation))
    console.file.close()
    text = console.export_text()
    markdown = "\n".join(lines_of(tmp_path / "a.md", ablation)[6:13]).replace("\\|", "¦").replace("---", "")
    for cell in markdown.replace("\n", "|").split("|"):
        assert cell.strip(" :").replace("¦", "|") in text
    assert "random weights" in text
    assert "warning: session 3 is short" in text
    assert text.startswith("Foal-Net: UA 73.1; best baseline (mean | linear): 70.0; difference +3.2")


@pytest.mark.parametrize("keep", [slice(None), slice(1), slice(0, 3)])
def test_equal_ablations_give_equal_plots(tmp_path: Path, keep: slice) -> None:
    ablation = example_ablation()
    ablation["rows"] = ablation["rows"][keep]
    before = copy.deepcopy(ablation)
    for name in ("a.png", "b.png"):
        plot_ablation(tmp_path / name, ablation)
    assert ablation == before
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    pixels = imread(tmp_path / "a.png")
    assert pixels.shape[0] > 200
    assert pixels.shape[1] == 1500


def test_the_height_of_the_plot_depends_on_its_rows(tmp_path: Path) -> None:
    no_intervals = {"ua_std": None, "ua_ci95": None}
    short = example_ablation(rows=[row("fusion", "A+V fusion", 0.25, selected_on_test=True, **no_intervals)])
    plot_ablation(tmp_path / "short.png", short)
    long_name = "a system with a name that is much longer than the names of all other systems in it"
    rows = [row("fusion", "A+V fusion", 0.7), *(row(str(i), f"{long_name} {i}", 0.5 + i / 50) for i in range(19))]
    plot_ablation(tmp_path / "long.png", example_ablation(rows=rows))
    short_plot, long_plot = (imread(tmp_path / f"{name}.png") for name in ("short", "long"))
    assert long_plot.shape[0] - short_plot.shape[0] == pytest.approx(19 * 0.3 * 150, abs=2)
