import re
from xml.etree import ElementTree

import pytest

from foal.predict.report.charts import (
    bar_chart,
    confusion_chart,
    development_chart,
    loss_chart,
    reliability_chart,
    strip_chart,
    wave_chart,
)

HISTORY = [
    {"seed": seed, "fold": "1", "epoch": str(epoch), "loss_classes": f"{2 / epoch}", "loss_mem": "0", "dev_ua": ua}
    for seed in "01"
    for epoch, ua in ((1, "0.25"), (2, "0.5"), (3, ""))
]


def texts(chart: str) -> list[str]:
    return [found.text or "" for found in ElementTree.fromstring(chart).iter("text")]


def test_confusion_shows_shares_of_rows_and_counts() -> None:
    chart = confusion_chart(["<ang>", "neu"], [[3, 1], [0, 0]])
    assert {"75.0", "25.0", "0.0", "3", "1", "0", "<ang>"} <= set(texts(chart))
    assert "&lt;ang&gt;: 75.0% &lt;ang&gt;, 25.0% neu" in chart
    assert "style=" not in chart


def test_a_confusion_of_many_classes_may_scroll() -> None:
    few, many = (confusion_chart([str(name) for name in range(c)], [[1] * c] * c) for c in (3, 12))
    assert 'class="chart"' in few
    assert 'class="chart wide"' in many


def test_the_texts_of_dark_cells_differ_from_those_of_pale_ones() -> None:
    chart = confusion_chart(["a", "b"], [[9, 1], [5, 5]])
    assert chart.count("value deep") == 1
    opacities = [float(value) for value in re.findall(r'fill-opacity="([\d.]+)"', chart)]
    assert opacities == pytest.approx([0.94, 0.09, 0.45, 0.45])


def test_reliability_leaves_out_empty_bins_and_describes_the_others() -> None:
    chart = reliability_chart({"accuracy": [None, 0.5], "counts": [0, 8], "confidence": [None, 0.7]})
    assert chart.count('class="bar"') == 1
    assert "confidence 50.0 to 100.0%: accuracy 50.0%, 100.0% of the utterances" in chart
    assert "NaN" not in reliability_chart({"accuracy": [None], "counts": [0], "confidence": [None]})


def test_curves_have_one_line_per_fit_and_loss_and_leave_out_unused_losses() -> None:
    chart, legend = loss_chart(HISTORY)
    assert legend == [("s0", "classes")]
    assert chart.count("<polyline") == 2
    development = development_chart(HISTORY)
    assert development is not None
    points = re.findall(r'points="([^"]+)"', development)
    assert [len(line.split()) for line in points] == [2, 2]
    assert development_chart([{**row, "dev_ua": ""} for row in HISTORY]) is None


def test_bars_have_the_length_of_their_share_and_marks() -> None:
    chart = bar_chart([("complete", 0.5, 0.1), ("audio removed", 0.25, None)], label="UA", marks={"chance": 0.25})
    widths = [float(part.attrib["width"]) for part in ElementTree.fromstring(chart).iter("rect")]
    assert widths[1] / widths[0] == pytest.approx(0.5, abs=0.01)
    assert widths[3] / widths[2] == pytest.approx(0.25, abs=0.01)
    assert "UA: complete 50.0%; audio removed 25.0%" in chart
    assert "chance 25.0" in texts(chart)


def test_a_strip_stays_inside_its_cell() -> None:
    strip = ElementTree.fromstring(strip_chart(2.0, (-3.0, 9.0), (0.0, 1.0), 0.5))
    numbers = [float(part.attrib[key]) for part in strip for key in ("x1", "x2", "cx") if key in part.attrib]
    assert min(numbers) >= 0
    assert max(numbers) <= 120


def test_a_waveform_is_scaled_to_its_peak_and_silence_is_a_line() -> None:
    assert "M0.5 2.0V38.5" in wave_chart([(-0.1, 0.1)])
    assert "M0.5 20.0V20.5" in wave_chart([(0.0, 0.0)])
