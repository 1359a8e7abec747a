"""What a training step costs the way Foal-Net's authors train, and what each of its wastes adds.

    python benchmarks/authors.py [--features feats.h5] [--steps 8] [--threads 1] [--device cpu] [--tiny]

What is known of their procedure (Li et al. 2024, and the table in docs/network.md), written with PyTorch's own
modules and the usual care, over cached features in place of encoders. Without a store one of the shape of IEMOCAP is
drawn (benchmarks/shaped.py, a twentieth of it, faces at 30 Hz). Prints one JSON line: seconds per step and per epoch of
the procedure as it is, without each of its wastes, and without all of them. --tiny: one step of two utterances each.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from report import check_measured, log, machine
from shaped import write_shaped
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)
from torch.utils.data import WeightedRandomSampler

from foal.shared.store.feature_store import FeatureStore

WIDTH, HEADS, LAYERS = 512, 4, 2
ATTENTION_DROPOUT, PROJECTION_DROPOUT = 0.1, 0.5
BATCH = 16
CUT_S = 6.0
"""Longer sequences are cut, shorter ones padded: 300 frames of sound at 50 Hz, 180 of the face at 30 Hz."""
LEARNING_RATE = 1e-4
TEMPERATURE = math.log(1 / 0.07)
ALIGN_WEIGHT, MATCH_WEIGHT = 1.0, 0.1
FORBIDDEN = -10_000.0

BUCKET_BATCHES = 8
WARM_UP = 2
"""Steps before the clock runs: the first ones allocate."""


@dataclass(frozen=True, kw_only=True)
class Wastes:
    """What the procedure pays for and does not need; each can be switched off alone, and nothing else changes.

    `fused_twice`: own pairs go through the fusion for the class head, and again for MEM. `sampling_loop`: negatives are
    drawn row by row, each waited for. `fixed_padding`: every batch is padded to six seconds; without it batches are
    made of utterances of similar length (still cut at six seconds) and padded to their longest.
    """

    fused_twice: bool = True
    sampling_loop: bool = True
    fixed_padding: bool = True


AS_IT_IS = Wastes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=Path, help="a feats.h5 with audio and face")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--train-utterances", type=int, default=3319, help="of an epoch; three sessions of IEMOCAP")
    parser.add_argument("--tiny", action="store_true", help="a test of this benchmark, not of foal")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.steps = 1
    names = [field.name for field in fields(Wastes)]
    variants = {"as_it_is": Wastes(), **{f"without_{name}": Wastes(**{name: False}) for name in names}}
    variants["without_all"] = Wastes(**dict.fromkeys(names, False))
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        features = arguments.features or write_shaped(
            Path(scratch), face_hz=30.0, fraction=0.01 if arguments.tiny else 0.05
        )
        for variant, wastes in variants.items():
            measured = authors_step_seconds(
                features,
                steps=arguments.steps,
                threads=arguments.threads,
                seed=arguments.seed,
                wastes=wastes,
                device=arguments.device,
                train_utterances=arguments.train_utterances,
                batch_size=2 if arguments.tiny else BATCH,
            )
            check_measured(measured, "step_s", "compute_s", "cpu_s", "epoch_s", "data_share", "loss")
            log(f"{variant}: {measured}")
            result |= {f"{variant}_{name}": measured[name] for name in ("step_s", "cpu_s", "epoch_s", "data_share")}
    settings = {name: measured[name] for name in ("steps", "threads", "device", "precision", "epoch_steps")}
    print(json.dumps({**result, **settings, "machine": machine()}))


def authors_step_seconds(
    features: Path,
    *,
    steps: int,
    threads: int,
    seed: int = 0,
    wastes: Wastes = AS_IT_IS,
    device: str = "cpu",
    train_utterances: int | None = None,
    batch_size: int = BATCH,
) -> dict[str, Any]:
    """Train for some steps on the utterances of a feats.h5, and clock each from the making of its batch to its end.

    `step_s` and `compute_s` (without the making of the batch) are medians, `mean_step_s` is their mean, `data_share`
    the share of all that time spent on making batches; on a GPU their way there counts as making. `cpu_s` is the median
    of the processor's seconds, which tell more than the clock's where one thread shares its core. `epoch_s` is for an
    epoch over `train_utterances` (by default three fifths of the store's): the median step times their number, or with
    batches of similar length, whose steps differ, the mean step. Best with a multiple of eight `steps`.

    float32 on a CPU; on a GPU mixed precision, waiting for it at both ends of what is clocked.
    """
    where = torch.device(device)
    utterances = read_utterances(features)
    mixed = where.type == "cuda"
    half = torch.bfloat16 if mixed and torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    step_s, data_s, cpu_s = list[float](), list[float](), list[float]()
    with torch.random.fork_rng([where] if mixed else []), threads_set(threads):
        torch.manual_seed(seed)
        network = Network(utterances.widths, classes=int(utterances.labels.max()) + 1).to(where).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
        scaler = torch.amp.GradScaler(where.type, enabled=mixed and half is torch.float16)
        # As a bucket is sorted, the steps that warm up must not take the shortest of those that count.
        planned = [*plan(utterances, WARM_UP, wastes, batch_size), *plan(utterances, steps, wastes, batch_size)]
        for number, rows in enumerate(planned):
            began, cpu_began = now(where), time.process_time()
            batch = collate(utterances, rows, where, fixed=wastes.fixed_padding)
            made = now(where)
            with torch.autocast(where.type, half, enabled=mixed):
                loss = training_loss(network, batch, wastes)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            if number >= WARM_UP:
                step_s.append(now(where) - began)
                data_s.append(made - began)
                cpu_s.append(time.process_time() - cpu_began)
        last_loss = loss.item()
    if not math.isfinite(last_loss):
        raise SystemExit(f"the loss came to {last_loss}; the seconds of such a run mean nothing")
    epoch_steps = math.ceil((train_utterances or math.ceil(len(utterances.labels) * 3 / 5)) / batch_size)
    typical = statistics.median if wastes.fixed_padding else statistics.fmean
    return {
        "step_s": round(statistics.median(step_s), 5),
        "mean_step_s": round(statistics.fmean(step_s), 5),
        "compute_s": round(statistics.median(a - b for a, b in zip(step_s, data_s, strict=True)), 5),
        "cpu_s": round(statistics.median(cpu_s), 5),
        "data_share": round(sum(data_s) / sum(step_s), 4),
        "epoch_steps": epoch_steps,
        "epoch_s": round(typical(step_s) * epoch_steps, 2),
        "loss": round(last_loss, 4),
        "steps": steps,
        "threads": threads,
        "seed": seed,
        "device": device,
        "precision": str(half).removeprefix("torch.") if mixed else "float32",
        **asdict(wastes),
    }


@contextmanager
def threads_set(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


# The data: one array per utterance in memory, batches made one utterance after the other.


@dataclass(frozen=True, kw_only=True)
class Utterances:
    """audio and face: per utterance (t, width) as stored; labels (n,); the most frames of each that are used."""

    audio: Sequence[NDArray[Any]]
    face: Sequence[NDArray[Any]]
    labels: Tensor
    most: tuple[int, int]

    @property
    def widths(self) -> tuple[int, int]:
        """Of audio and face."""
        return self.audio[0].shape[1], self.face[0].shape[1]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of both modalities that are used of each utterance, (n,)."""
        audio, face = (
            np.minimum([len(frames) for frames in side], most)
            for side, most in zip((self.audio, self.face), self.most, strict=True)
        )
        return audio + face


class Batch(NamedTuple):
    """audio (b, t_a, d_a), face (b, t_v, d_v), which of their frames are no padding, and labels (b,)."""

    audio: Tensor
    face: Tensor
    audio_valid: Tensor
    face_valid: Tensor
    labels: Tensor


def read_utterances(features: Path) -> Utterances:
    """All utterances of a store that have sound and pictures, since the procedure fails without."""
    with FeatureStore(features) as store:
        rows = np.flatnonzero((store.lengths("audio") > 0) & (store.lengths("face") > 0)).tolist()
        names = [store.utterances[row].label for row in rows]
        classes = {name: number for number, name in enumerate(sorted(set(names)))}
        most = [math.floor(CUT_S * store.streams[name].rate_hz + 0.5) for name in ("audio", "face")]
        audio, face = (
            [store.packed(name, [row]).values[:longest] for row in rows]
            for name, longest in zip(("audio", "face"), most, strict=True)
        )
    labels = torch.tensor([classes[name] for name in names])
    return Utterances(audio=audio, face=face, labels=labels, most=(most[0], most[1]))


def plan(utterances: Utterances, steps: int, wastes: Wastes, batch_size: int) -> list[list[int]]:
    """The rows of so many batches, drawn with replacement, every class equally likely."""
    weights = (1.0 / torch.bincount(utterances.labels).float())[utterances.labels]
    drawn = np.array(list(WeightedRandomSampler(weights.tolist(), steps * batch_size)))
    batches = []
    size = BUCKET_BATCHES * batch_size
    for bucket in np.split(drawn, range(size, len(drawn), size)):
        if not wastes.fixed_padding:
            bucket = bucket[np.argsort(utterances.lengths[bucket], kind="stable")]
        batches += np.split(bucket, range(batch_size, len(bucket), batch_size))
    return [rows.tolist() for rows in batches]


def collate(utterances: Utterances, rows: Sequence[int], device: torch.device, *, fixed: bool) -> Batch:
    """Read and pad one utterance after the other, then take the batch to the device."""
    audio, audio_valid = _padded([utterances.audio[row] for row in rows], utterances.most[0] if fixed else None)
    face, face_valid = _padded([utterances.face[row] for row in rows], utterances.most[1] if fixed else None)
    batch = Batch(audio, face, audio_valid, face_valid, utterances.labels[list(rows)])
    if device.type == "cpu":
        return batch
    return Batch(*(side.pin_memory().to(device, non_blocking=True) for side in batch))


def _padded(sequences: Sequence[NDArray[Any]], frames: int | None) -> tuple[Tensor, Tensor]:
    """(b, t, width) in float32, and (b, t) where there is something; t is `frames`, or that of the longest."""
    frames = frames or max(map(len, sequences))
    values = torch.zeros(len(sequences), frames, sequences[0].shape[1])
    valid = torch.zeros(len(sequences), frames, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        values[row, : len(sequence)] = torch.from_numpy(sequence)
        valid[row, : len(sequence)] = True
    return values, valid


# The network of the paper.


class Projection(nn.Module):
    """A modality's mean into the space where both are compared."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, WIDTH, bias=False)
        self.mix = nn.Linear(WIDTH, WIDTH, bias=False)
        self.dropout = nn.Dropout(PROJECTION_DROPOUT)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, mean: Tensor) -> Tensor:
        """(b, width) -> (b, d), of unit length."""
        entered = self.enter(mean)
        return F.normalize(self.norm(entered + self.dropout(self.mix(F.gelu(entered)))), dim=-1)


class Stack(nn.Module):
    """Layers in which one modality reads the other."""

    def __init__(self) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(WIDTH, HEADS, dropout=ATTENTION_DROPOUT, batch_first=True) for _ in range(LAYERS)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(LAYERS))

    def forward(self, x: Tensor, x_valid: Tensor, other: Tensor, other_valid: Tensor) -> Tensor:
        """(b, t, d) reads (b, t_o, d); its mean over time is given back, (b, d)."""
        padding = ~other_valid
        for attention, norm in zip(self.attentions, self.norms, strict=True):
            read, _ = attention(x, other, other, key_padding_mask=padding, need_weights=False)
            x = norm(x + read)
        return masked_mean(x, x_valid)


class Network(nn.Module):
    """Foal-Net; a linear layer per modality stands where a fine-tuned encoder would give frames of width d."""

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


# Their training step.


def training_loss(network: Network, batch: Batch, wastes: Wastes) -> Tensor:
    """L_ce + w_a L_avel + w_m L_mem of a batch, whose padding is overwritten."""
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

    # Own pairs, then those with a hard negative: 2 b rows on either side.
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
    """Contrast of (b, b) similarities in both directions, summed over the positives of a row."""
    positives = same.float()
    to_face = (positives * F.log_softmax(similarities, 1)).sum(1).mean()
    to_audio = (positives * F.log_softmax(similarities.T, 1)).sum(1).mean()
    return -(to_face + to_audio) / 2


def draw_others(
    similarities: Tensor, same: Tensor, sequences: Tensor, valid: Tensor, *, loop: bool
) -> tuple[Tensor, Tensor]:
    """For each of b rows a sequence of another class, (b, t, d) and (b, t), the likelier the more similar it is."""
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


if __name__ == "__main__":
    main()
