"""One optimisation step: AdamW, warm-up and cosine, gradient clipping, mixed precision on a GPU."""

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from ...shared.config.train_settings import TrainSettings
from ..model.networks import Network
from .device import amp_dtype


class Optimizer:
    """Optimizer of a network on a device; `half` is the dtype of mixed precision, None for float32."""

    def __init__(self, model: Network, settings: TrainSettings, device: torch.device) -> None:
        self.device = device
        self._model = model
        self._parameters = list(model.parameters())
        self._settings = settings
        # Usually weight decay applies to matrices only: it would pull the log scale, norms and placeholders to zero.
        smallest = 2 if settings.decay == "matrices" else 0
        matrices = [p for p in self._parameters if p.dim() >= smallest]
        others = [p for p in self._parameters if p.dim() < smallest]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        self._adamw = torch.optim.AdamW(
            groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.half = amp_dtype(settings, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.half == torch.float16)

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which the forward pass is computed in `half`."""
        return torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None)

    def step(self, loss: Tensor, *, epochs: float) -> None:
        """Backpropagate a loss and update the parameters; `epochs`: training time so far, which sets the rate."""
        settings = self._settings
        for group in self._adamw.param_groups:
            group["lr"] = settings.learning_rate * lr_multiplier(settings, epochs)
        self._adamw.zero_grad()
        torch.autograd.backward(self._scaler.scale(loss))
        if settings.clip is not None:
            self._scaler.unscale_(self._adamw)
            nn.utils.clip_grad_norm_(self._parameters, settings.clip)
        self._scaler.step(self._adamw)
        self._scaler.update()
        if self._model.alignment is not None:
            self._model.alignment.clamp_logit_scale()

    def state_dict(self) -> dict[str, Any]:
        """State of the optimizer and the gradient scaler, from which training resumes exactly."""
        return {"adamw": self._adamw.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        self._adamw.load_state_dict(state["adamw"])
        self._scaler.load_state_dict(state["scaler"])


def lr_multiplier(settings: TrainSettings, epochs: float) -> float:
    """Learning rate after so many epochs relative to its maximum: linear warm-up, then a half cosine to zero."""
    if epochs < settings.warmup:
        # Never zero, so that the first step has an effect.
        return min(1.0, (epochs + 0.01) / settings.warmup)
    if settings.schedule == "constant":
        return 1.0
    left = max(settings.epochs - settings.warmup, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (epochs - settings.warmup) / left)))
