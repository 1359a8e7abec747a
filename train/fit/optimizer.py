"""One optimisation step: AdamW, warm-up and cosine, gradient clipping, mixed precision on a GPU."""

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from ...shared.config.train_settings import TrainSettings
from ..model.foalnet import FoalNet
from .device import half_precision


class Optimizer:
    """Steps of a network on a device; `half` is the number format of its arithmetic, None for float32."""

    def __init__(self, model: FoalNet, settings: TrainSettings, device: torch.device) -> None:
        self.device, self._model, self._settings = device, model, settings
        # Decay is for matrices: it would pull the log scale, norms and placeholders to zero for no reason.
        matrices = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        self._adamw = torch.optim.AdamW(
            groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.half = half_precision(settings, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.half == torch.float16)

    def autocast(self) -> AbstractContextManager[Any]:
        """Within it the forward pass is computed in `half`."""
        return torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None)

    def step(self, loss: Tensor, *, epochs: float) -> None:
        """Follow the gradient; `epochs` were done before."""
        settings = self._settings
        for group in self._adamw.param_groups:
            group["lr"] = settings.learning_rate * share_of_rate(settings, epochs)
        self._adamw.zero_grad()
        torch.autograd.backward(self._scaler.scale(loss))
        if settings.clip is not None:
            self._scaler.unscale_(self._adamw)
            nn.utils.clip_grad_norm_(self._model.parameters(), settings.clip)
        self._scaler.step(self._adamw)
        self._scaler.update()
        if self._model.alignment is not None:
            self._model.alignment.limit_scale()

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on as if nothing had been."""
        return {"adamw": self._adamw.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._adamw.load_state_dict(state["adamw"])
        self._scaler.load_state_dict(state["scaler"])


def share_of_rate(settings: TrainSettings, epochs: float) -> float:
    """The step size after so many epochs, as a share of its highest: linear warm-up, then a half cosine to zero."""
    if epochs < settings.warmup:
        # Never zero: the first step counts as well.
        return min(1.0, (epochs + 0.01) / settings.warmup)
    if settings.schedule == "constant":
        return 1.0
    left = max(settings.epochs - settings.warmup, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (epochs - settings.warmup) / left)))
