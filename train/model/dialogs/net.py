"""The network over dialogs: projections, encoder of the turns, classifier; and its builder."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from ...data.sequences import Frames
from ..architecture import Architecture, build_projections, build_skip
from ..dropout import Dropout
from ..layers import Projection, initialize_normal
from ..pooling import Projected, Skip
from .encoder import GruEncoder, TurnEncoder


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

    def forward(self, frames: Mapping[str, Frames], turns: Sequence[int]) -> Float[Tensor, "u c"]:
        """Class logits of every turn.

        Args:
            frames: by input, the vectors of u turns, one dialog after the other, as sequences of one frame.
            turns: number of turns of each dialog.
        """
        projected = self.project(frames)
        streams = {name: side.values[:, 0] for name, side in projected.items()}
        # Without context every turn is a dialog of its own.
        counts = [1] * sum(turns) if self.architecture.context == "none" else turns
        logits: Tensor = self.classifier(self.dropout(self.encoder(streams, counts)))
        if self.skip is not None:
            logits = logits + self.skip(projected)
        return logits


def build_dialog_net(a: Architecture) -> DialogNet:
    """Build the head that the architecture names, with newly initialized weights."""
    encoder = GruEncoder(inputs=len(a.frame_shapes), width=a.width, dropout=a.dropout, both=a.context == "both")
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
