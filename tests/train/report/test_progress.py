"""Training progress in a log: one line per fold, and periodic lines for many fits."""

from typing import Literal

import pytest

from foal.shared.cli.console import start_console
from foal.shared.cli.logs import configure_logging
from foal.shared.config.train_settings import TrainSettings
from foal.train.fit.history import Epoch
from foal.train.fit.task import FoldScore
from foal.train.report.progress import fits_progress, training_progress

EPOCH = Epoch(
    seed=0,
    fold=1,
    epoch=1,
    loss=1.0,
    loss_classes=1.0,
    loss_avel=0.0,
    loss_mem=0.0,
    dev_loss=1.0,
    dev_ua=0.5,
    dev_wa=0.5,
)
SCORE = FoldScore(
    position=(1, 5), seed=0, fold=1, test="session1", dev="session2", ua=0.625, wa=0.5, f1=0.5, epoch=7, n=9
)


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "")
    start_console()
    configure_logging()


@pytest.mark.parametrize(("select", "epoch"), [("ua", "epoch 7, chosen on session2"), ("last", "last epoch")])
def test_a_log_contains_a_line_per_fold_and_none_per_epoch(
    capsys: pytest.CaptureFixture[str], select: Literal["ua", "last"], epoch: str
) -> None:
    with training_progress(TrainSettings(select=select)) as progress:
        for step in (EPOCH, SCORE):
            progress(step)
    pace = "1 of 5 fits, elapsed 0 min 0 s, about 0 min 0 s left"
    assert capsys.readouterr().out == f"seed 0, fold 1: UA 62.5%, WA 50.0% on session1 ({epoch}); {pace}\n"


def test_a_log_contains_the_last_line_of_the_fits(capsys: pytest.CaptureFixture[str]) -> None:
    with fits_progress() as progress:
        progress(0, 2, "")
        progress(1, 2, "both")
        progress(2, 2, "late fusion")
    assert capsys.readouterr().out == "2/2 fits, late fusion, elapsed 0 min 0 s\n"
