"""The training loop of one fold: train until the development score stops improving, select an epoch, refit."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ...shared.config.train_settings import TrainSettings
from ...shared.errors import TrainingError
from ..data.batches import EVALUATION_BATCH_SIZE, evaluation_batches, training_batch_size, training_batches
from ..data.dataset import Dataset
from ..data.modality_dropout import modality_dropout
from ..data.normalization import frame_statistics
from ..data.protocol import Fold
from ..data.sequences import Batch
from ..dialogs.batches import dialog_training_batches, dialogs_of
from ..metrics.classification import confusion, unweighted_accuracy, weighted_accuracy
from ..metrics.regression import group_scores, mean_concordance
from ..model.dialogs.net import DialogNet
from ..model.layers import Projection
from ..model.networks import Network, architecture_for, build_network, losses_of
from ..model.objective import LossConfig
from ..model.pooling import PooledInputs, Skip
from ..model.ratings import ccc_loss
from .history import Epoch, TrainingHistory
from .optimizer import Optimizer
from .predict import predict_targets
from .snapshot import Snapshots


@dataclass(frozen=True, kw_only=True)
class TrainedFold:
    """The network, the number of the selected epoch (from 1), and all epochs of the selection."""

    model: Network
    epoch: int
    history: tuple[Epoch, ...]


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """What is common to the selection and the refit of a fold."""

    data: Dataset
    fold: Fold
    settings: TrainSettings
    seed: int
    device: torch.device
    progress: Callable[[Epoch], None]


def train_fold(
    data: Dataset,
    fold: Fold,
    settings: TrainSettings,
    *,
    seed: int,
    device: torch.device,
    progress: Callable[[Epoch], None] = lambda epoch: None,
    snapshot: Path | None = None,
) -> TrainedFold:
    """Train on fold.train_rows, and select an epoch on fold.dev_rows; fold.test_rows are never read.

    With `refit` a new network is then trained on fold.refit_rows, which contain both groups, for as many epochs. If the
    last epoch is selected anyway, it is the only one. If the development group is the test group (protocol
    loso-reference), there is no refit, and `last` becomes `ua`. The same seed, data and number of threads give the same
    network. The caller's random state is not changed.

    Args:
        data: the dataset.
        fold: rows of the training, development and test sets.
        settings: settings of training.
        seed: seed of weights, batches and MEM pairs.
        device: device of the computation.
        progress: called after every epoch.
        snapshot: file in which the state is saved from time to time, and from which an interrupted fit resumes.

    Raises:
        TrainingError: a loss is NaN or infinite.
    """
    if fold.dev_is_test:
        select = "ua" if settings.select == "last" else settings.select
        settings = settings.model_copy(update={"select": select, "refit": False})
    fit = _Fit(data=data, fold=fold, settings=settings, seed=seed, device=device, progress=progress)
    if settings.refit and settings.select == "last":
        return _train(fit, fold.refit_rows, None, epochs=settings.epochs, snapshot=snapshot)
    trained = _train(fit, fold.train_rows, fold.dev_rows, epochs=settings.epochs, snapshot=snapshot)
    if not settings.refit:
        return trained
    refit_snapshot = snapshot and snapshot.with_suffix(".refit")
    refitted = _train(
        replace(fit, progress=lambda epoch: None), fold.refit_rows, None, epochs=trained.epoch, snapshot=refit_snapshot
    )
    return replace(trained, model=refitted.model)


def train_on_all(
    data: Dataset,
    settings: TrainSettings,
    *,
    seed: int,
    epochs: int,
    device: torch.device,
    progress: Callable[[Epoch], None] = lambda epoch: None,
    snapshot: Path | None = None,
) -> TrainedFold:
    """Train on all utterances of a dataset for exactly `epochs` epochs, as in a refit; see `train_fold`."""
    rows = torch.arange(len(data))
    fold = Fold(number=0, test="", dev="", train_rows=rows, dev_rows=rows[:0], test_rows=rows[:0])
    fit = _Fit(data=data, fold=fold, settings=settings, seed=seed, device=device, progress=progress)
    return _train(fit, rows, None, epochs=epochs, snapshot=snapshot)


def _train(
    fit: _Fit, rows: torch.Tensor, dev_rows: torch.Tensor | None, *, epochs: int, snapshot: Path | None
) -> TrainedFold:
    """Train a network on `rows`; without `dev_rows` for exactly `epochs` epochs."""
    data, settings, device = fit.data, fit.settings, fit.device
    select = "last" if dev_rows is None else settings.select
    # Three independent streams of random numbers: disabling a loss changes neither initial weights nor batches.
    weights_seed, batches_seed, pairs_seed = _seeds(fit.seed, fit.fold.number)
    rngs = {"batches": torch.Generator().manual_seed(batches_seed)}
    rngs["pairs"] = torch.Generator(device).manual_seed(pairs_seed)
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type=device.type):
        torch.manual_seed(weights_seed)
        model = build_network(architecture_for(data, settings)).to(device)
        fit_normalization(model, data, rows)
        optimizer = Optimizer(model, settings, device)
        snapshots = Snapshots(snapshot, model, optimizer, rngs, device)
        training = snapshots.restore()
        if training is None:
            training = TrainingHistory(best=None, history=(), last_improvement=0, best_state=model.state_dict())
        while len(training.history) < epochs and not training.should_stop(settings.early_stopping_patience):
            batches = _epoch_batches(fit, model, rows, rngs["batches"])
            losses = train_epoch(
                model, batches, optimizer, settings, rngs["pairs"], draws=len(rows), epoch=len(training.history)
            )
            row = _epoch(fit, len(training.history) + 1, losses, model, dev_rows, optimizer.half)
            if not np.isfinite([row.loss, row.dev_loss or 0.0]).all():
                raise TrainingError(
                    f"fold {fit.fold.number}, epoch {row.epoch}: expected a finite loss, got NaN or infinity; "
                    f"lower train.learning_rate ({settings.learning_rate:g})"
                )
            fit.progress(row)
            training = training.after(row, model, select)
            snapshots.save(training)
        if settings.refit and dev_rows is not None:  # the refit follows
            snapshots.save(training, now=True)
    assert training.best is not None  # settings.epochs is at least 1
    model.load_state_dict(training.best_state)
    return TrainedFold(model=model.eval(), epoch=training.best.epoch, history=training.history)


def _epoch_batches(fit: _Fit, model: Network, rows: torch.Tensor, generator: torch.Generator) -> Iterator[Batch]:
    batch_size = training_batch_size(fit.settings.batch_size, len(rows))
    if isinstance(model, DialogNet):
        return dialog_training_batches(fit.data, rows, batch_size=batch_size, generator=generator, device=fit.device)
    return training_batches(
        fit.data,
        rows,
        batch_size=batch_size,
        frames=fit.settings.batch_frames,
        generator=generator,
        device=fit.device,
    )


def train_epoch(
    model: Network,
    batches: Iterable[Batch],
    optimizer: Optimizer,
    settings: TrainSettings,
    generator: torch.Generator,
    *,
    draws: int,
    epoch: int,
) -> list[float]:
    """Train one epoch; the device is synchronized only once, at the end.

    Args:
        model: the network, trained in place.
        batches: the batches of the epoch.
        optimizer: its optimizer.
        settings: settings of training.
        generator: source of randomness of modality dropout and MEM pairs, on the device.
        draws: utterances in the epoch.
        epoch: epochs before this one.

    Returns:
        Means over the utterances of the total, class, AVEL, MEM, rating and fusion losses.
    """
    model.train()
    config = LossConfig.from_settings(settings)
    sums = torch.zeros(6, device=optimizer.device)
    seen = 0
    for complete_batch in batches:
        batch = modality_dropout(complete_batch, settings.modality_dropout, generator)
        with optimizer.autocast():
            losses = losses_of(model, batch, config, generator)
        optimizer.step(losses.total, epochs=epoch + seen / draws)
        seen += batch.size
        sums += torch.stack(losses).detach() * batch.size
    means: list[float] = (sums / draws).tolist()
    return means


def fit_normalization(model: Network, data: Dataset, rows: torch.Tensor) -> None:
    """Set the normalization of the network's inputs and the scale of its ratings to the statistics of `rows` (m,).

    The statistics of a dialog head are those of all turns of the dialogs of these rows.
    """
    if isinstance(model, DialogNet):
        rows = torch.cat(dialogs_of(data, rows))
    elif model.rating_scale is not None and data.targets.ratings is not None:
        model.rating_scale.fit(data.targets.ratings[rows])
    for name, (mean, deviation) in frame_statistics(data.features, rows).items():
        projection = model.projections[name]
        assert isinstance(projection, Projection)
        projection.set_normalization(mean, deviation)
    if model.skip is not None:
        _fit_pooled_normalization(model, model.skip, data, rows)


@torch.no_grad()
def _fit_pooled_normalization(model: Network, skip: Skip, data: Dataset, rows: torch.Tensor) -> None:
    """Set the normalization of pooled inputs to their statistics over the utterances that have the modality."""
    device = next(model.parameters()).device
    model.eval()
    modules = {name: module for name, module in skip.inputs.items() if isinstance(module, PooledInputs)}
    sums = {name: torch.zeros(2, module.pool.width, dtype=torch.float64) for name, module in modules.items()}
    counts = dict.fromkeys(modules, 0)
    for batch in evaluation_batches(data, rows, batch_size=EVALUATION_BATCH_SIZE, device=device):
        projected = model.project(batch.frames)
        for name, module in modules.items():
            pooled = module(projected[name])[projected[name].present].double().cpu()
            sums[name] += torch.stack([pooled.sum(0), pooled.square().sum(0)])
            counts[name] += len(pooled)
    for name, module in modules.items():
        mean, square = sums[name] / max(counts[name], 1)
        module.set_normalization(mean.float(), (square - mean.square()).clamp(min=0).sqrt().float())


def _epoch(
    fit: _Fit,
    epoch: int,
    losses: list[float],
    model: Network,
    dev_rows: torch.Tensor | None,
    half: torch.dtype | None,
) -> Epoch:
    """Score an epoch on the development rows, if there are any."""
    total, classes, avel, mem, ratings, fusion = losses
    row = Epoch(
        seed=fit.seed,
        fold=fit.fold.number,
        epoch=epoch,
        loss=total,
        loss_classes=classes,
        loss_avel=avel,
        loss_mem=mem,
        dev_loss=None,
        dev_ua=None,
        dev_wa=None,
        loss_ratings=ratings if fit.data.targets.dimensions else None,
        loss_fusion=fusion if fusion else None,
    )
    if dev_rows is None:
        return row
    predictions = predict_targets(model, fit.data, dev_rows, device=fit.device, half=half)
    if fit.data.classes:
        row = _with_class_scores(row, predictions.probabilities, fit.data, dev_rows)
    if fit.data.targets.ratings is not None:
        truth = fit.data.targets.ratings[dev_rows]
        loss = float(ccc_loss(predictions.ratings, truth))
        weight = fit.settings.rating_weight if fit.data.classes else 1.0
        scores = group_scores(truth.numpy(), predictions.ratings.numpy(), fit.data.targets.dimensions)
        row = replace(row, dev_loss=(row.dev_loss or 0.0) + weight * loss, dev_ccc=mean_concordance(scores))
    return row


def _with_class_scores(row: Epoch, probabilities: torch.Tensor, data: Dataset, rows: torch.Tensor) -> Epoch:
    """Add loss, UA and WA on the development rows; soft labels count in the loss."""
    labels, shares = data.labels[rows], data.targets.shares
    logs = probabilities.clamp(min=1e-12).log()
    loss = F.nll_loss(logs, labels) if shares is None else -(shares[rows] * logs).sum(1).mean()
    counts = confusion(labels.numpy(), probabilities.argmax(1).numpy(), probabilities.shape[1])
    return replace(
        row,
        dev_loss=float(loss),
        dev_ua=float(unweighted_accuracy(counts)),
        dev_wa=float(weighted_accuracy(counts)),
    )


def _seeds(seed: int, fold: int) -> list[int]:
    return [int(state) for state in np.random.SeedSequence([seed, fold]).generate_state(3)]
