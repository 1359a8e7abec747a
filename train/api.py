"""`foal.train`: training from Python, with the settings of `foal train` and without output."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..shared.cli.console import quiet_console
from ..shared.config.settings import Settings, load_settings
from .fit.history import Epoch, read_history
from .fit.task import FoldScore
from .report.plots import confusion_figure, learning_figure
from .report.results import read_metrics, run_title
from .run import default_run_folder
from .run import train as run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        folder: the folder of the run.
        metrics: the content of metrics.json: scores as shares from 0 to 1, intervals, protocol, warnings.
    """

    folder: Path
    metrics: Mapping[str, Any]

    @cached_property
    def predictions(self) -> Any:
        """The tested utterances with label, predicted class and probabilities (p_CLASS).

        A pandas DataFrame where pandas is installed, else a list of dicts.
        """
        path = self.folder / "predictions.csv"
        try:
            import pandas
        except ImportError:
            with path.open(encoding="utf-8", newline="") as file:
                return [
                    {name: float(value) if name.startswith("p_") else value for name, value in row.items()}
                    for row in csv.DictReader(file)
                ]
        text = dict.fromkeys(("id", "speaker", "fold", "label", "predicted"), str)
        return pandas.read_csv(path, dtype=text, keep_default_na=False)

    def plot(self, kind: Literal["confusion", "learning"] = "confusion") -> "Figure":
        """Draw the confusion matrix or the learning curves; returns a matplotlib figure, which a notebook shows.

        Raises:
            ValueError: another kind, or the confusion matrix of a run without classes.
        """
        title = run_title(self.metrics)
        if kind == "learning":
            best = {(fold["seed"], fold["fold"]): fold["epoch"] or 1 for fold in self.metrics["folds"]}
            chance = self.metrics.get("mem_training", {}).get("chance")
            return learning_figure(read_history(self.folder / "history.csv"), best, title=title, mem_chance=chance)
        if kind != "confusion":
            raise ValueError(f"kind: expected confusion or learning, got {kind!r}")
        if "confusion" not in self.metrics:
            raise ValueError("expected a run with classes, got one of ratings alone, which has no confusion matrix")
        return confusion_figure(self.metrics, title=title)


def train(
    features: str | Path,
    *,
    out: str | Path | None = None,
    settings: Settings | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[Epoch | FoldScore], None] = lambda step: None,
) -> TrainResult:
    """Train and test every fold with every seed, as `foal train` does, in this process.

    Args:
        features: feats.h5.
        out: folder of the run (None: in runs/, named after the configuration).
        settings: all settings (None: params.yaml if it exists, else the defaults); see `foal.load_settings`.
        resume: continue an interrupted run; return the results of a finished one of the same configuration.
        force: replace a finished run.
        progress: called with every epoch (`Epoch`) and every finished fold (`FoldScore`).

    Raises:
        FoalError: the features do not allow this training, or a run exists in `out`.

    Example:
        >>> result = foal.train("feats.h5", settings=foal.load_settings(overrides={"train.epochs": 10}))
        >>> result.metrics["ua_mean"], result.predictions
    """
    settings = settings or load_settings()
    features = Path(features)
    folder = Path(out) if out else default_run_folder(settings, features)
    with quiet_console():
        metrics = run(settings, features, folder, resume=resume, force=force, progress=progress)
    return TrainResult(folder, metrics)


def read_run(folder: str | Path) -> TrainResult:
    """Read a finished run. Raises FoalError if the folder contains none."""
    return TrainResult(Path(folder), read_metrics(Path(folder)))
