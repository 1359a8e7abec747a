"""The state of a fit between two epochs on disk, from which an interrupted fit resumes exactly."""

import pickle
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...shared.errors import StoreError
from ...shared.files.atomic import replaced_atomically
from ..model.networks import Network
from .history import Epoch, TrainingHistory
from .optimizer import Optimizer

MIN_SECONDS_BETWEEN = 10.0
"""Minimum time between two snapshots; light heads finish several epochs in it."""


class Snapshots:
    """Saves and restores the whole state of a fit."""

    def __init__(
        self,
        path: Path | None,
        model: Network,
        optimizer: Optimizer,
        rngs: dict[str, torch.Generator],
        device: torch.device,
    ) -> None:
        """Save to `path` (None: nowhere) the state of these objects; `restore` changes them in place."""
        self._path = path
        self._model = model
        self._optimizer = optimizer
        self._rngs = rngs
        self._device = device
        self._last = time.monotonic()

    def save(self, training: TrainingHistory, *, now: bool = False) -> None:
        """Write the state, unless the last snapshot is more recent than MIN_SECONDS_BETWEEN; with `now` in any case."""
        if self._path is None or (not now and time.monotonic() - self._last < MIN_SECONDS_BETWEEN):
            return
        state = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "rngs": {name: rng.get_state() for name, rng in self._rngs.items()},
            "torch": torch.get_rng_state(),
            "cuda": self._cuda_state(),
            "history": [asdict(row) for row in training.history],
            "last_improvement": training.last_improvement,
            "best": training.best.epoch if training.best else 0,
            "best_state": training.best_state,
        }
        with replaced_atomically(self._path) as temporary:
            torch.save(state, temporary)
        self._last = time.monotonic()

    def restore(self) -> TrainingHistory | None:
        """Restore the saved state (None: there is no snapshot). Raises StoreError for a corrupt file."""
        if self._path is None or not self._path.exists():
            return None
        try:
            return self._load(torch.load(self._path, map_location="cpu", weights_only=True))
        except (OSError, EOFError, LookupError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise StoreError(
                f"{self._path}: corrupt snapshot of a fit ({error}); delete the file to restart this fit"
            ) from None

    def _load(self, state: dict[str, Any]) -> TrainingHistory:
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        for name, rng in self._rngs.items():
            rng.set_state(state["rngs"][name])
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self._device)
        history = tuple(Epoch(**row) for row in state["history"])
        return TrainingHistory(
            best=history[state["best"] - 1],
            history=history,
            last_improvement=state["last_improvement"],
            best_state={name: value.to(self._device) for name, value in state["best_state"].items()},
        )

    def _cuda_state(self) -> Tensor | None:
        return torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None
