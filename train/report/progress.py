"""What is seen while training: a bar on a terminal, a line per fold elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ...shared.config.train_settings import TrainSettings
from ..fit.history import Epoch
from ..fit.task import FoldScore

Step = Epoch | FoldScore


@contextmanager
def shown(console: Console, settings: TrainSettings) -> Iterator[Callable[[Step], None]]:
    """What `run.train` is to be given as `progress`."""
    if not console.is_terminal:
        yield lambda step: _line(console, step) if isinstance(step, FoldScore) else None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[score]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("training", total=settings.epochs, score="")

        def show(step: Step) -> None:
            if isinstance(step, FoldScore):
                _line(console, step)
                return
            name = f"seed {step.seed}, fold {step.fold}"
            bar.update(task, description=name, completed=step.epoch, score=f"development UA {100 * step.dev_ua:.1f}%")

        yield show


@contextmanager
def fits_shown(console: Console) -> Iterator[Callable[[int, int, str], None]]:
    """What `ablate.ablate` is to be given as `progress`: a bar on a terminal, a line per tenth elsewhere."""
    if not console.is_terminal:
        said = -1

        def say(done: int, total: int, name: str) -> None:
            nonlocal said
            if done * 10 // max(total, 1) != said:
                said = done * 10 // max(total, 1)
                console.print(f"{done} of {total} fits", highlight=False)

        yield say
        return
    columns = (
        TextColumn("fits"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, name: bar.update(task, completed=done, total=total, description=name)


def _line(console: Console, score: FoldScore) -> None:
    console.print(
        f"seed {score.seed}, fold {score.fold}: UA {100 * score.ua:.1f}%, WA {100 * score.wa:.1f}% on {score.test} "
        f"(epoch {score.epoch}, chosen on {score.dev})",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
