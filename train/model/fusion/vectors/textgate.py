"""Text decides how much each other stream counts: a design of foal."""

import torch
from torch import nn

from .....shared.config.extract_settings import modality_of
from .....shared.config.fusion_settings import TextGateSettings
from ...architecture import Architecture
from ..base import Fused, FusionHead, Streams
from ..layers import masked_softmax, utterance_vectors


class TextGateFusion(FusionHead):
    """The vector of the text scales and shifts that of every other stream, and weights them all.

    l: mean of the text, or its learned placeholder, with which the gate is the same for all utterances without text.
    (g_s, b_s) = W_s l, h_s = u_s (1 + tanh g_s) + b_s, for the text itself h = l; z = sum of softmax(W l)_s h_s over
    the streams that are present, 0 without any. With several streams of text the first one is l, the others are gated.
    """

    def __init__(self, a: Architecture, options: TextGateSettings) -> None:
        super().__init__()
        names = list(a.frame_shapes)
        self.text = next(name for name in names if modality_of(name) == "text")
        self.gates = nn.ModuleDict({name: nn.Linear(a.width, 2 * a.width) for name in names if name != self.text})
        self.weights = nn.Linear(a.width, len(names))
        self.width = a.width

    def forward(self, streams: Streams) -> Fused:
        """See FusionHead."""
        vectors = dict(zip(streams, utterance_vectors(list(streams.values())), strict=True))
        text = vectors[self.text]
        for name, gate in self.gates.items():
            scale, shift = gate(text).chunk(2, -1)
            vectors[name] = vectors[name] * (1 + scale.tanh()) + shift
        present = torch.stack([side.present for side in streams.values()], 1)
        weights = masked_softmax(self.weights(text), present)
        return Fused((torch.stack(list(vectors.values()), 1) * weights[..., None]).sum(1))
