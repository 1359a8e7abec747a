"""The network and training loss of Foal-Net's authors, for authors.py."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (conventional name)

WIDTH, HEADS, LAYERS = 512, 4, 2
ATTENTION_DROPOUT, PROJECTION_DROPOUT = 0.1, 0.5
TEMPERATURE = math.log(1 / 0.07)
ALIGN_WEIGHT, MATCH_WEIGHT = 1.0, 0.1
FORBIDDEN = -10_000.0


@dataclass(frozen=True, kw_only=True)
class Wastes:
    """Inefficiencies of the procedure. Each can be disabled separately without any other change.

    `fused_twice`: matching pairs pass through the fusion once for the class head and again for MEM. `sampling_loop`:
    negatives are drawn row by row, with a synchronization for each. `fixed_padding`: every batch is padded to six
    seconds; without it, batches contain utterances of similar length (still truncated to six seconds) and are padded to
    the longest of them.
    """

    fused_twice: bool = True
    sampling_loop: bool = True
    fixed_padding: bool = True


class Batch(NamedTuple):
    """audio (b, t_a, d_a), face (b, t_v, d_v), masks that are false for padding, and labels (b,)."""

    audio: Tensor
    face: Tensor
    audio_valid: Tensor
    face_valid: Tensor
    labels: Tensor


# The network.


class Projection(nn.Module):
    """Projects the mean of a modality into the shared embedding space."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, WIDTH, bias=False)
        self.mix = nn.Linear(WIDTH, WIDTH, bias=False)
        self.dropout = nn.Dropout(PROJECTION_DROPOUT)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, mean: Tensor) -> Tensor:
        """Map (b, width) to (b, d) with unit norm."""
        entered = self.enter(mean)
        return F.normalize(self.norm(entered + self.dropout(self.mix(F.gelu(entered)))), dim=-1)


class Stack(nn.Module):
    """Cross-attention layers from one modality to the other."""

    def __init__(self) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(WIDTH, HEADS, dropout=ATTENTION_DROPOUT, batch_first=True) for _ in range(LAYERS)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(LAYERS))

    def forward(self, x: Tensor, x_valid: Tensor, other: Tensor, other_valid: Tensor) -> Tensor:
        """Let (b, t, d) attend to (b, t_o, d); return the mean over time, (b, d)."""
        padding = ~other_valid
        for attention, norm in zip(self.attentions, self.norms, strict=True):
            read, _ = attention(x, other, other, key_padding_mask=padding, need_weights=False)
            x = norm(x + read)
        return masked_mean(x, x_valid)


class Network(nn.Module):
    """Foal-Net, with a linear layer per modality in place of a fine-tuned encoder of width d."""

    def __init__(self, widths: tuple[int, int], *, classes: int) -> None:
        super().__init__()
        self.audio_projection, self.face_projection = (Projection(width) for width in widths)
        self.audio_enter, self.face_enter = (nn.Linear(width, WIDTH) for width in widths)
        self.audio_stack, self.face_stack = Stack(), Stack()
        self.dropout = nn.Dropout(ATTENTION_DROPOUT)
        self.classifier = nn.Linear(2 * WIDTH, classes)
        self.audio_matcher, self.face_matcher = nn.Linear(WIDTH, 2), nn.Linear(WIDTH, 2)
        self.temperature = nn.Parameter(torch.tensor(TEMPERATURE))


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    weights = valid[..., None].to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1)


# The training step.


def training_loss(network: Network, batch: Batch, wastes: Wastes) -> Tensor:
    """Compute L_ce + w_a L_avel + w_m L_mem of a batch; its padding is overwritten with zeros."""
    raw_audio, raw_face, audio_valid, face_valid, labels = batch
    raw_audio.masked_fill_(~audio_valid[..., None], 0.0)
    raw_face.masked_fill_(~face_valid[..., None], 0.0)

    z_a = network.audio_projection(masked_mean(raw_audio, audio_valid))
    z_v = network.face_projection(masked_mean(raw_face, face_valid))
    similarities = z_a @ z_v.T / network.temperature
    same = labels[:, None] == labels
    align = alignment_loss(similarities, same)

    audio, face = network.audio_enter(raw_audio), network.face_enter(raw_face)
    other_face, other_face_valid = draw_others(similarities, same, face, face_valid, loop=wastes.sampling_loop)
    other_audio, other_audio_valid = draw_others(similarities.T, same, audio, audio_valid, loop=wastes.sampling_loop)

    # Matching pairs, then pairs with a hard negative: 2 b rows per modality.
    twice_audio, twice_audio_valid = torch.cat([audio, audio]), torch.cat([audio_valid, audio_valid])
    twice_face, twice_face_valid = torch.cat([face, face]), torch.cat([face_valid, face_valid])
    u_a = network.audio_stack(
        twice_audio, twice_audio_valid, torch.cat([face, other_face]), torch.cat([face_valid, other_face_valid])
    )
    u_v = network.face_stack(
        twice_face, twice_face_valid, torch.cat([audio, other_audio]), torch.cat([audio_valid, other_audio_valid])
    )
    if wastes.fused_twice:
        own_a = network.audio_stack(audio, audio_valid, face, face_valid)
        own_v = network.face_stack(face, face_valid, audio, audio_valid)
    else:
        own_a, own_v = u_a[: len(labels)], u_v[: len(labels)]
    classes = F.cross_entropy(network.classifier(network.dropout(torch.cat([own_a, own_v], -1))), labels)

    matches = torch.cat([torch.ones_like(labels), torch.zeros_like(labels)])
    sides = (network.audio_matcher(u_a), network.face_matcher(u_v))
    match = (F.cross_entropy(sides[0], matches) + F.cross_entropy(sides[1], matches)) / 2
    return classes + ALIGN_WEIGHT * align + MATCH_WEIGHT * match


def alignment_loss(similarities: Tensor, same: Tensor) -> Tensor:
    """Contrastive loss of (b, b) similarities in both directions, summed over the positives of each row."""
    positives = same.float()
    to_face = (positives * F.log_softmax(similarities, 1)).sum(1).mean()
    to_audio = (positives * F.log_softmax(similarities.T, 1)).sum(1).mean()
    return -(to_face + to_audio) / 2


def draw_others(
    similarities: Tensor, same: Tensor, sequences: Tensor, valid: Tensor, *, loop: bool
) -> tuple[Tensor, Tensor]:
    """For each of b rows, draw a sequence of another class, (b, t, d) and (b, t); similar ones are more probable."""
    weights = F.softmax(similarities.detach().masked_fill(same, FORBIDDEN), 1)
    if not loop:
        drawn = torch.multinomial(weights, 1).squeeze(1)
        return sequences[drawn], valid[drawn]
    others, others_valid = [], []
    for row in range(len(weights)):
        number = int(torch.multinomial(weights[row], 1).item())
        others.append(sequences[number])
        others_valid.append(valid[number])
    return torch.stack(others), torch.stack(others_valid)
