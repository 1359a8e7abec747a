"""The networks by the setting `train.fusion`: how one is built, computes logits, and is trained on a batch."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (its usual name)

from ...shared.config.fusion_settings import DIALOG_HEADS, FUSIONS
from ...shared.config.train_settings import TrainSettings
from ...shared.errors import TrainingError
from ..data.dataset import NO_CLASS, Dataset
from ..data.sequences import Batch
from ..dialogs.batches import DialogBatch
from .architecture import Architecture
from .dialogs.net import DialogNet, build_dialog_net
from .foalnet import FoalNet, build_model
from .fusion.base import Supervision
from .objective import LossConfig, Losses, objective

Network = FoalNet | DialogNet


def architecture_for(data: Dataset, settings: TrainSettings) -> Architecture:
    """The architecture that the settings define for the features of a dataset."""
    return Architecture(
        frame_shapes=dict(data.features.frame_shapes),
        classes=len(data.classes),
        ratings=len(data.targets.dimensions),
        width=settings.width,
        heads=settings.heads,
        layers=settings.layers,
        dropout=settings.dropout,
        projection_dropout=settings.projection_dropout,
        input_limit=settings.input_limit,
        input_dropout=settings.input_dropout,
        frame_dropout=settings.frame_dropout,
        feed_forward=settings.feed_forward,
        positions=settings.positions,
        pool=settings.pool,
        skip=settings.skip,
        skip_hidden=settings.skip_hidden,
        initialization=settings.initialization,
        cosine_over_temperature="temperature" in settings.compat,
        fusion=settings.fusion,
        fusion_options=settings.head_options.model_dump(mode="json"),
        context=settings.context,
    )


def build_network(architecture: Architecture) -> Network:
    """Build the network that the architecture names, with newly initialized weights.

    Raises:
        TrainingError: the name is unknown, or the attention heads do not divide the width.
    """
    if architecture.fusion not in FUSIONS:
        raise TrainingError(f"expected a fusion of {', '.join(FUSIONS)}, got {architecture.fusion!r}; update foal")
    if architecture.fusion in DIALOG_HEADS:
        return build_dialog_net(architecture)
    return build_model(architecture)


def logits_of(network: Network, batch: Batch) -> Tensor:
    """Class logits of the utterances of a batch, context included, (b, c)."""
    if isinstance(network, FoalNet):
        logits: Tensor = network(batch.frames)
    else:
        assert isinstance(batch, DialogBatch)
        logits = network(batch.frames, batch.turns, batch.speakers)
    return logits


def losses_of(network: Network, batch: Batch, config: LossConfig, generator: torch.Generator) -> Losses:
    """The losses of a batch.

    Those of a dialog head are the weighted cross-entropy of the turns that have a label, and the head's own losses.

    Args:
        network: the network.
        batch: its batch.
        config: weights of the losses of Foal-Net.
        generator: source of randomness of MEM's pairs, on the device.
    """
    if isinstance(network, FoalNet):
        return objective(network, batch, config, generator)
    assert isinstance(batch, DialogBatch)
    projected = network.project(batch.frames)
    encoded = network.encode(projected, batch.turns, batch.speakers)
    logits = network.classify(encoded.vectors, projected)
    each = F.cross_entropy(logits.float(), batch.labels, ignore_index=NO_CLASS, reduction="none")
    classes = (each * batch.weights).sum() / batch.labelled
    zero = classes.new_zeros(())
    extra = network.encoder.extra_losses(*encoded, Supervision(batch.labels, batch.rows))
    fusion = sum(extra.values(), zero)
    return Losses(classes + fusion, classes, zero, zero, zero, fusion)
