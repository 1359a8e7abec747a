from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from foal.tests.train.report.fusions.example_comparison import example_comparison
from foal.train.report.fusions.picture import plot_fusions

GREEN = np.array([0x3A, 0x7D, 0x44]) / 255


def green_rows(path: Path) -> np.ndarray:
    """The lines of a picture that contain the colour of the bar, above the legend."""
    pixels = imread(path)[..., :3]
    green = np.all(np.abs(pixels - GREEN) < 0.01, axis=-1)
    (lines,) = np.nonzero(np.any(green, axis=1))
    return lines[lines < 0.6 * len(pixels)]


def drawn(path: Path, comparison: dict[str, Any]) -> np.ndarray:
    plot_fusions(path, comparison)
    return green_rows(path)


def test_equal_comparisons_give_equal_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plot_fusions(tmp_path / name, example_comparison())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_bar_is_as_long_as_the_rows_that_equal_the_best_one(tmp_path: Path) -> None:
    short = drawn(tmp_path / "short.png", example_comparison())
    comparison = example_comparison()
    comparison["rows"][3]["best_p_holm"] = 0.05
    long = drawn(tmp_path / "long.png", comparison)
    assert short[0] == pytest.approx(long[0], abs=1)
    # From the first to the second row, and to the fourth.
    assert np.ptp(long) / np.ptp(short) == pytest.approx(3, rel=0.4)


def test_rows_without_intervals_are_drawn(tmp_path: Path) -> None:
    comparison = example_comparison()
    for row in comparison["rows"]:
        row.update(ua_ci95=None, best_p_holm=None)
    assert len(drawn(tmp_path / "a.png", comparison)) > 0
