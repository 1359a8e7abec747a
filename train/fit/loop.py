"""One fold: train until the development group's UA stops growing, and give back the best epoch's network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ...shared.config.train_settings import TrainSettings
from ...shared.errors import TrainingError
from ..data.batches import training_batches
from ..data.dataset import Dataset
from ..data.modality_dropout import without_one
from ..data.normalization import frame_statistics
from ..data.protocol import Fold
from ..data.sequences import Batch
from ..metrics.classification import confusion, unweighted_accuracy, weighted_accuracy
from ..model.foalnet import Architecture, FoalNet, build
from ..model.layers import Projection
from ..model.objective import Terms, objective
from .history import Course, Epoch
from .optimizer import Optimizer
from .predict import predict
from .snapshot import Snapshots


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The network as it was after its best epoch, counted from 1."""

    model: FoalNet
    epoch: int
    history: tuple[Epoch, ...]


def fit(
    data: Dataset,
    fold: Fold,
    settings: TrainSettings,
    *,
    seed: int,
    device: torch.device,
    progress: Callable[[Epoch], None] = lambda epoch: None,
    snapshot: Path | None = None,
) -> Fitted:
    """Train on fold.train_rows, stop by fold.dev_rows, never look at fold.test_rows.

    The epoch with the best development UA is kept; a small group's UA moves in large steps, so among equals the one
    with the lowest development loss. `patience` counts from the first of the equals. The same seed, data and number of
    threads give the same network, and the caller's random state is left alone. With `snapshot`, the state after an
    epoch is kept in that file from time to time, and a fit that finds it there goes on from it, to the same network.
    Raises TrainingError if a loss is no longer a number.
    """
    # Three streams of chance, so that switching a loss off leaves initial weights and batches what they were.
    weights_seed, batches_seed, pairs_seed = _seeds(seed, fold.number)
    chances = {"batches": torch.Generator().manual_seed(batches_seed)}
    chances["pairs"] = torch.Generator(device).manual_seed(pairs_seed)
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type=device.type):
        torch.manual_seed(weights_seed)
        model = build(architecture(data, settings)).to(device)
        standardise(model, data, fold.train_rows)
        optimizer = Optimizer(model, settings, device)
        snapshots = Snapshots(snapshot, model, optimizer, chances, device)
        done = snapshots.restore() or Course(best=None, history=(), last_gain=0, best_state=model.state_dict())
        wide = 4 * settings.batch_size  # nothing is kept for a gradient in evaluation
        dev_labels = data.labels[fold.dev_rows]
        while len(done.history) < settings.epochs and not done.waited(settings.early_stopping_patience):
            batches = training_batches(
                data,
                fold.train_rows,
                batch_size=settings.batch_size,
                frames=settings.batch_frames,
                generator=chances["batches"],
                device=device,
            )
            losses = train_epoch(
                model,
                batches,
                optimizer,
                settings,
                chances["pairs"],
                draws=len(fold.train_rows),
                epoch=len(done.history),
            )
            guessed = predict(model, data, fold.dev_rows, batch_size=wide, device=device, half=optimizer.half)
            row = _epoch(seed, fold, len(done.history) + 1, losses, guessed, dev_labels)
            if not np.isfinite([row.loss, row.dev_loss]).all():
                raise TrainingError(
                    f"fold {fold.number}, epoch {row.epoch}: the loss is no longer a number; "
                    f"lower train.learning_rate ({settings.learning_rate:g})"
                )
            progress(row)
            done = done.after(row, model)
            snapshots.save(done)
    assert done.best is not None  # settings.epochs is at least 1
    model.load_state_dict(done.best_state)
    return Fitted(model=model.eval(), epoch=done.best.epoch, history=done.history)


def train_epoch(
    model: FoalNet,
    batches: Iterable[Batch],
    optimizer: Optimizer,
    settings: TrainSettings,
    generator: torch.Generator,
    *,
    draws: int,
    epoch: int,
) -> list[float]:
    """One epoch of `draws` utterances, of which `epoch` were before; gives the mean of each loss over them.

    The device is waited for once, at the end.
    """
    model.train()
    terms = Terms.of(settings)
    sums = torch.zeros(4, device=optimizer.device)
    done = 0
    for whole in batches:
        batch = without_one(whole, settings.modality_dropout, generator)
        with optimizer.autocast():
            losses = objective(model, batch, terms, generator)
        optimizer.step(losses.total, epochs=epoch + done / draws)
        done += len(batch.rows)
        sums += torch.stack(losses).detach() * len(batch.rows)
    means: list[float] = (sums / draws).tolist()
    return means


def architecture(data: Dataset, settings: TrainSettings) -> Architecture:
    """The network that the settings ask for over these features."""
    return Architecture(
        frame_shapes=dict(data.features.frame_shapes),
        classes=len(data.classes),
        width=settings.width,
        heads=settings.heads,
        layers=settings.layers,
        dropout=settings.dropout,
        projection_dropout=settings.projection_dropout,
        divided="temperature" in settings.compat,
    )


def standardise(model: FoalNet, data: Dataset, rows: torch.Tensor) -> None:
    """Give the projections the statistics of `rows` (m,)."""
    for name, (mean, deviation) in frame_statistics(data.features, rows).items():
        projection = model.projections[name]
        assert isinstance(projection, Projection)
        projection.standardise_by(mean, deviation)


def _epoch(
    seed: int, fold: Fold, epoch: int, losses: list[float], probabilities: torch.Tensor, labels: torch.Tensor
) -> Epoch:
    counts = confusion(labels.numpy(), probabilities.argmax(1).numpy(), probabilities.shape[1])
    total, classes, avel, mem = losses
    return Epoch(
        seed=seed,
        fold=fold.number,
        epoch=epoch,
        loss=total,
        loss_classes=classes,
        loss_avel=avel,
        loss_mem=mem,
        dev_loss=float(F.nll_loss(probabilities.clamp(min=1e-12).log(), labels)),
        dev_ua=float(unweighted_accuracy(counts)),
        dev_wa=float(weighted_accuracy(counts)),
    )


def _seeds(seed: int, fold: int) -> list[int]:
    return [int(state) for state in np.random.SeedSequence([seed, fold]).generate_state(3)]
