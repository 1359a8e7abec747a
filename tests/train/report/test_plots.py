"""The plots of a run are byte-identical for equal numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from PIL import Image

from foal.train.fit.history import Epoch
from foal.train.report.plots import draw_title, figure, plot_confusion, plot_learning, wrapped

METRICS = {"classes": ["hap", "sad"], "confusion": [[5, 1], [0, 0]], "ua_mean": 0.4, "wa_mean": 0.8}


def history(*, loss_mem: float) -> list[Epoch]:
    return [
        Epoch(
            seed=0,
            fold=fold,
            epoch=number,
            loss=2 / number,
            loss_classes=1 / number,
            loss_avel=1 / number,
            loss_mem=loss_mem,
            dev_loss=1.0,
            dev_ua=0.1 * number,
            dev_wa=0.5,
        )
        for fold in (1, 2)
        for number in (1, 2, 3)
    ]


def check_png(path: Path) -> None:
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
        assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 10
        assert "Software" not in image.info


def test_equal_confusion_matrices_give_equal_files(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plot_confusion(tmp_path / name, METRICS, title="audio and face")
    check_png(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    plot_confusion(tmp_path / "b.png", {**METRICS, "confusion": [[5, 1], [0, 1]]}, title="audio and face")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_learning_curves_mark_the_selected_epochs(tmp_path: Path) -> None:
    best = {(0, 1): 3, (0, 2): 2}
    plot_learning(tmp_path / "a.png", history(loss_mem=0.7), best, title="audio and face")
    check_png(tmp_path / "a.png")
    plot_learning(tmp_path / "b.png", history(loss_mem=0.7), {**best, (0, 1): 1}, title="audio and face")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_without_development_scores_only_the_losses_are_plotted(tmp_path: Path) -> None:
    best = {(0, 1): 3, (0, 2): 3}
    scored = history(loss_mem=0.7)
    plot_learning(tmp_path / "both.png", scored, best, title="audio and face")
    unscored = [replace(epoch, dev_loss=None, dev_ua=None, dev_wa=None) for epoch in scored]
    plot_learning(tmp_path / "losses.png", unscored, best, title="audio and face")
    with Image.open(tmp_path / "both.png") as both, Image.open(tmp_path / "losses.png") as losses:
        assert losses.height == both.height
        assert losses.width < 0.6 * both.width


def test_disabled_losses_have_no_curve(tmp_path: Path) -> None:
    best = {(0, 1): 3, (0, 2): 2}
    for name, loss_mem in (("with.png", 0.7), ("without.png", 0.0)):
        plot_learning(tmp_path / name, history(loss_mem=loss_mem), best, title="audio")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()


def test_the_chance_level_of_mem_is_a_line(tmp_path: Path) -> None:
    for name, chance in (("with.png", 0.64), ("without.png", None)):
        plot_learning(tmp_path / name, history(loss_mem=0.7), {(0, 1): 3, (0, 2): 2}, title="a", mem_chance=chance)
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()


def test_a_long_title_is_broken_between_words_within_the_picture() -> None:
    title = "audio, face and text + AVEL + MEM (encoder with random weights; speaker statistics; selected on test)"
    assert wrapped(title, 100) == title
    assert " ".join(wrapped(title, 4).split("\n")) == title
    for width in (4.8, 9.0):
        picture, _ = figure(width, 3.6, panels=1)
        draw_title(picture, title)
        picture.canvas.draw()
        (text,) = [text for text in picture.texts if "AVEL" in text.get_text()]
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= picture.bbox.width


def test_shares_have_the_digits_of_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    monkeypatch.setattr(Axes, "text", lambda axes, x, y, text, **options: texts.append(text))
    plot_confusion(tmp_path / "a.png", {**METRICS, "confusion": [[33, 7], [0, 40]]}, title="audio")
    assert texts == ["82.5%\n33", "17.5%\n7", "0.0%\n0", "100.0%\n40"]
