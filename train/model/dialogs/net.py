"""The network over dialogs: projections, encoder of the turns, classifier; and its builder."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...data.sequences import Frames
from ..architecture import Architecture, build_projections, build_skip
from ..dropout import Dropout
from ..layers import Projection, initialize_normal
from ..pooling import Projected, Skip
from .encoder import Streams, TurnEncoder, Turns
from .registry import build_encoder


class Encoded(NamedTuple):
    """The encoded vectors of u turns, and what they were computed from."""

    vectors: Float[Tensor, "u e"]
    streams: Streams
    turns: Turns


class DialogNet(nn.Module):
    """A head over dialogs: projection of each stream, encoder of the turns, classifier, linear path (`skip`)."""

    alignment: None = None
    """These heads have neither AVEL nor MEM."""

    def __init__(
        self,
        *,
        architecture: Architecture,
        projections: Mapping[str, Projection],
        encoder: TurnEncoder,
        classifier: nn.Linear,
        dropout: float,
        skip: Skip | None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.projections = nn.ModuleDict(projections)
        self.encoder = encoder
        self.dropout = Dropout(dropout)
        self.classifier = classifier
        self.skip = skip

    def project(self, frames: Mapping[str, Frames]) -> dict[str, Projected]:
        """Project the vectors of every input into the shared space; a missing one becomes a learned placeholder."""
        return {name: projection(frames[name]) for name, projection in self.projections.items()}

    def encode(self, projected: Mapping[str, Projected], counts: Sequence[int], speakers: Int[Tensor, " u"]) -> Encoded:
        """Encode every turn, see `forward`; with the context `none` as a dialog of its own, by its only speaker."""
        streams = {name: side.values[:, 0] for name, side in projected.items()}
        if self.architecture.context == "none":
            counts, speakers = [1] * len(speakers), torch.zeros_like(speakers)
        turns = Turns(counts, speakers, {name: side.present for name, side in projected.items()})
        return Encoded(self.encoder(streams, turns), streams, turns)

    def classify(self, vectors: Float[Tensor, "u e"], projected: Mapping[str, Projected]) -> Float[Tensor, "u c"]:
        """Class logits of every turn from its encoded vector; with `skip` from the inputs too."""
        logits: Tensor = self.classifier(self.dropout(vectors))
        if self.skip is not None:
            logits = logits + self.skip(projected)
        return logits

    def forward(
        self, frames: Mapping[str, Frames], counts: Sequence[int], speakers: Int[Tensor, " u"]
    ) -> Float[Tensor, "u c"]:
        """Class logits of every turn.

        Args:
            frames: by input, the vectors of u turns, one dialog after the other, as sequences of one frame.
            counts: number of turns of each dialog.
            speakers: number of the speaker within the dialog, see Turns.
        """
        projected = self.project(frames)
        return self.classify(self.encode(projected, counts, speakers).vectors, projected)


def build_dialog_net(a: Architecture) -> DialogNet:
    """Build the head that the architecture names, with newly initialized weights."""
    encoder = build_encoder(a)
    # The mean of the only frame is the vector itself.
    skip = build_skip(a, ("mean",)) if a.skip else None
    model = DialogNet(
        architecture=a,
        projections=build_projections(a),
        encoder=encoder,
        classifier=nn.Linear(encoder.width, a.classes),
        dropout=a.dropout,
        skip=skip,
    )
    if a.initialization == "normal":
        model.apply(initialize_normal)
    if skip is not None:
        skip.reset_to_zero()
    return model
