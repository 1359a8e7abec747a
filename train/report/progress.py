"""The progress of a training: the current fold on a terminal, one line per finished fold everywhere."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...shared.cli.progress import progress_display
from ...shared.config.train_settings import TrainSettings
from ..fit.history import Epoch
from ..fit.task import FoldScore

log = logging.getLogger(__name__)

FITS_LINE_SECONDS = 30.0

Step = Epoch | FoldScore


@contextmanager
def training_progress(settings: TrainSettings) -> Iterator[Callable[[Step], None]]:
    """Yield the `progress` callback of `run.train`; it takes each epoch and each fold's score."""
    with progress_display("training", total=settings.epochs, line_seconds=None) as display:

        def show(step: Step) -> None:
            if isinstance(step, FoldScore):
                log.info(
                    "seed %d, fold %d: UA %.1f%%, WA %.1f%% on %s (epoch %d, chosen on %s)",
                    step.seed,
                    step.fold,
                    100 * step.ua,
                    100 * step.wa,
                    step.test,
                    step.epoch,
                    step.dev,
                )
                return
            score = "" if step.dev_ua is None else f"development UA {100 * step.dev_ua:.1f}%"
            display.update(score, completed=step.epoch, description=f"seed {step.seed}, fold {step.fold}")

        yield show


@contextmanager
def fits_progress(title: str = "ablation") -> Iterator[Callable[[int, int, str], None]]:
    """Yield the `progress` callback of a study: fits done, fits in total, name of what the last fit belongs to."""
    with progress_display(title, unit="fits", line_seconds=FITS_LINE_SECONDS) as display:
        yield lambda done, total, name: display.update(name, completed=done, total=total)
