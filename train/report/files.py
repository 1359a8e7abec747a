"""The files of a run besides its plots, and its warnings."""

import csv
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...shared.config.train_settings import TrainSettings
from ...shared.seen_corpora import seen_corpus_warnings
from ..data.dataset import Dataset
from ..data.protocol import CrossValidation, speakers_in_multiple_folds
from ..fit.task import FitResult
from ..folds.scenes import KIND as BLOCK


def write_predictions(
    path: Path,
    data: Dataset,
    rows: Tensor,
    probabilities: Mapping[int, NDArray[np.float32]],
    folds: Sequence[str],
    ratings: Mapping[int, NDArray[np.float32]] | None = None,
) -> None:
    """Write predictions.csv: one line per tested utterance, and per seed if there are several.

    Args:
        path: the file.
        data: the dataset.
        rows: tested rows, (m,).
        probabilities: (m, c) by seed, from the network that was not trained on the utterance; columns `p_<class>`.
        folds: group of each utterance, n.
        ratings: predicted ratings (m, k) by seed (None: no targets); columns `predicted_<dimension>` beside the true
            `<dimension>`.
    """
    several = ["seed"] if len(probabilities) > 1 else []
    labels = data.labels.tolist()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        of_classes = ["label", "predicted", *(f"p_{name}" for name in data.classes)] if data.classes else []
        of_ratings = [column for name in data.targets.dimensions for column in (name, f"predicted_{name}")]
        writer.writerow([*several, "id", "speaker", "fold", *of_classes, *of_ratings])
        for seed, table in probabilities.items():
            rated = np.zeros((len(rows), 0), np.float32) if ratings is None else ratings[seed]
            for row, shares, values in zip(rows.tolist(), table, rated, strict=True):
                names = [data.ids[row], data.speakers[row], folds[row]]
                classes: list[str] = []
                if data.classes:
                    classes = [data.classes[labels[row]], data.classes[int(shares.argmax())]]
                seed_cell = [seed] if several else []
                cells = [*classes, *(f"{share:.6f}" for share in shares), *_rating_cells(data, row, values)]
                writer.writerow([*seed_cell, *names, *cells])


def _rating_cells(data: Dataset, row: int, predicted: NDArray[np.float32]) -> list[str]:
    """True and predicted rating of each dimension; an empty cell where there is none."""
    utterance, cells = data.utterances[row], []
    for name, value in zip(data.targets.dimensions, predicted, strict=True):
        truth = getattr(utterance, name)
        cells += ["" if truth is None else f"{truth:g}", f"{value:.6f}"]
    return cells


def head_json(settings: TrainSettings) -> dict[str, Any]:
    """The head, the turns that it reads beside a turn (None: it reads no dialogs), and whether they are later ones."""
    return {
        "fusion": settings.fusion,
        **({"fusion_options": options} if (options := settings.head_options.model_dump(mode="json")) else {}),
        "context": settings.context if settings.over_dialogs else None,
        "reads_future": settings.over_dialogs and settings.context == "both",
    }


def fold_streams_json(data: Dataset) -> dict[str, dict[str, str]]:
    """Stream names by fold and modality; empty if all folds share them."""
    return {str(number): dict(streams) for number, streams in data.fold_streams.items()}


def warnings_for(data: Dataset, folds: CrossValidation) -> list[str]:
    """Warnings about the scores: how folds were made, random weights, selection on test, groups that share speakers."""
    warnings = list(folds.notes)
    if data.random_weights:
        warnings.append("random weights: the encoder has random weights; the scores only show that the pipeline runs")
    if data.speaker_statistics is not None:
        warnings.append(
            "speaker statistics: each speaker's features are standardized with all utterances of the speaker; this "
            "uses the unlabelled utterances of the test speakers"
        )
        single = int((data.speaker_statistics.utterances == 1).sum())
        if single:
            warnings.append(
                f"{single} of {len(data.speaker_statistics.utterances)} speakers have one utterance only: it is "
                "standardized mostly with the statistics of the training group"
            )
    warnings += corpora_seen(data)
    if folds.selected_on_test:
        warnings.append(
            "selected on test: the epoch was chosen on the test group, so the scores are optimistically biased"
        )
    # The sessions of blocks are held out: a speaker may be in several blocks, but not in several sessions.
    blocks = folds.kind == BLOCK
    groups = [utterance.session for utterance in data.utterances] if blocks else folds.groups
    if several := speakers_in_multiple_folds(groups, data.speakers):
        warnings.append(
            f"{len(several)} of {len(set(data.speakers))} speakers are in more than one "
            f"{'session' if blocks else folds.kind}: "
            "the results are not speaker-independent"
        )
    return warnings


def corpora_seen(data: Dataset) -> list[str]:
    """Warnings about encoders that were trained on labels of the dataset's corpora."""
    seen = {name: made.get("seen_corpora", []) for name, made in data.provenance.items()}
    return seen_corpus_warnings(seen, (utterance.corpus for utterance in data.utterances))


def selection_warnings(data: Dataset, folds: CrossValidation, select: str, results: Sequence[FitResult]) -> list[str]:
    """Warnings about development groups that cannot choose an epoch: solved ones, and ones of a single class."""
    if select == "last":
        return []
    warnings = []
    single = [str(fold.number) for fold in folds.folds if len(torch.unique(data.labels[fold.dev_rows])) == 1]
    if single and data.classes:
        warnings.append(
            f"development group of a single class in fold {', '.join(single)}: it cannot choose an epoch; use "
            "--select last, or another protocol"
        )
    fits = [result for result in results if result.epoch is not None and result.history]
    solved = [fit for fit in fits if fit.history[(fit.epoch or 1) - 1].dev_ua == 1.0]
    if select == "ua" and solved:
        warnings.append(
            f"development group solved (UA 100%) in {len(solved)} of {len(fits)} fits: it cannot choose between "
            "epochs; use --select loss or --select last"
        )
    return warnings


def versions() -> str:
    """Versions of foal, Python and the libraries that computed the scores."""
    numbers = {
        "foal": version("foal-mer"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
