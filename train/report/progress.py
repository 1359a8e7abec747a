"""The progress of a training: the current fold on a terminal, one line per finished fold everywhere."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...shared.cli.progress import progress_display
from ...shared.config.train_settings import TrainSettings
from ..fit.history import Epoch
from ..fit.task import FoldScore
from .formatting import NONE

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
                    "seed %d, fold %d: %s on %s (%s)",
                    step.seed,
                    step.fold,
                    _scores_text(step),
                    step.test,
                    f"epoch {step.epoch}, chosen on {step.dev}" if chooses(settings, step) else "last epoch",
                )
                return
            score = "" if step.dev_ccc is None else f"development CCC {step.dev_ccc:.3f}"
            score = score if step.dev_ua is None else f"development UA {100 * step.dev_ua:.1f}%"
            part = f"fold {step.fold}" if step.fold else "final model"
            display.update(score, completed=step.epoch, description=f"seed {step.seed}, {part}")

        yield show


def _scores_text(score: FoldScore) -> str:
    """UA and WA, and the CCC of each dimension, as far as a fold has them."""
    parts = []
    if score.ua is not None and score.wa is not None:
        parts += [f"UA {100 * score.ua:.1f}%", f"WA {100 * score.wa:.1f}%"]
    for name, scores in (score.ratings or {}).items():
        parts.append(f"CCC {name} {NONE if scores['ccc'] is None else format(scores['ccc'], '.3f')}")
    return ", ".join(parts)


def chooses(settings: TrainSettings, score: FoldScore) -> bool:
    """Whether the development group of a fold chose the epoch; if it is the test group, it always does."""
    return settings.select != "last" or score.dev == score.test


@contextmanager
def fits_progress(title: str = "ablation") -> Iterator[Callable[[int, int, str], None]]:
    """Yield the `progress` callback of a study: fits done, fits in total, name of what the last fit belongs to."""
    with progress_display(title, unit="fits", line_seconds=FITS_LINE_SECONDS) as display:
        yield lambda done, total, name: display.update(name, completed=done, total=total)
