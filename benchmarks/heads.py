"""Milliseconds of a training step and parameters of every fusion head, beside cross-attention in the same round.

    python benchmarks/heads.py [--rounds 5] [--width 128] [--batch 32] [--frames 45] [--device cpu] [--tiny]

Forward and backward pass of the head, its own losses and a linear classifier over random projected streams of audio and
face (and text, for heads that need it), one thread. MEM, which fuses three pairs per row, is not part of the step.
Prints one JSON line: by head, median milliseconds of a step, the ratio to cross-attention, and parameters.

--tiny: one round of small tensors.
"""

import argparse
import json
import statistics
import time

import torch
from common.report import check_measured, log, machine
from torch import nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from foal.shared.config.fusion_settings import FUSIONS
from foal.train.model.architecture import Architecture
from foal.train.model.fusion.base import Supervision
from foal.train.model.fusion.registry import FUSION_HEADS, build_fusion
from foal.train.model.pooling import Projected

CLASSES = 4
REFERENCE = "cross-attention"


class Step:
    """A head with its classifier, and a batch."""

    def __init__(self, fusion: str, *, width: int, batch: int, frames: int, device: torch.device) -> None:
        names = ("audio", "face", "text") if FUSIONS[fusion].needs.text else ("audio", "face")
        torch.manual_seed(0)
        architecture = Architecture(
            frame_shapes=dict.fromkeys(names, (width,)),
            classes=CLASSES,
            width=width,
            heads=4,
            layers=1,
            dropout=0.1,
            projection_dropout=0.5,
            fusion=fusion,
        )
        self.head = build_fusion(architecture).to(device).train()
        self.classifier = nn.Linear(self.head.width, CLASSES).to(device)
        self.parameters = sum(parameter.numel() for parameter in self.head.parameters())
        lengths = torch.randint(frames // 2, frames + 1, (batch,))
        lengths[0] = frames
        valid = (torch.arange(frames) < lengths[:, None]).to(device)
        present = torch.ones(batch, dtype=torch.bool, device=device)
        self.streams = {}
        for name in names:
            values = torch.randn(batch, frames, width, device=device, requires_grad=True)
            self.streams[name] = Projected(values, valid, present, values)
        labels = torch.randint(CLASSES, (batch,), device=device)
        self.supervision = Supervision(labels, torch.arange(batch, device=device))
        self.device = device

    def seconds(self) -> float:
        """Seconds of one step."""
        began = time.perf_counter()
        fused = self.head(self.streams)
        loss = F.cross_entropy(self.classifier(fused.vector), self.supervision.labels)  # type: ignore[arg-type]
        for extra in self.head.extra_losses(fused, self.streams, self.supervision).values():
            loss = loss + extra
        loss.backward()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="steps of every head; their median counts")
    parser.add_argument("--width", type=int, default=128, help="width of the shared space")
    parser.add_argument("--batch", type=int, default=32, help="utterances of a step")
    parser.add_argument("--frames", type=int, default=45, help="frames of each stream")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.rounds, arguments.width, arguments.batch, arguments.frames = 1, 16, 4, 6
    torch.set_num_threads(1)
    sizes = {"width": arguments.width, "batch": arguments.batch, "frames": arguments.frames}
    steps = {name: Step(name, **sizes, device=torch.device(arguments.device)) for name in FUSION_HEADS}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(arguments.rounds + 1):
        for name, step in steps.items():
            seconds = step.seconds()
            if number:  # the first round warms up
                taken[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    check_measured(medians, *medians)
    heads = {}
    for name, step in steps.items():
        ratio = medians[name] / medians[REFERENCE]
        heads[name] = {"ms": round(1000 * medians[name], 2), "ratio": round(ratio, 2), "parameters": step.parameters}
        log(f"{name}: {heads[name]['ms']} ms, {ratio:.2f} of {REFERENCE}, {step.parameters:,} parameters")
    print(json.dumps({"heads": heads, **sizes, "device": arguments.device, "machine": machine()}))


if __name__ == "__main__":
    main()
