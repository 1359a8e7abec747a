"""The state of a fit between two epochs, kept on disk to go on from."""

import pickle
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...shared.errors import StoreError
from ...shared.files.atomic import replaced_atomically
from ..model.foalnet import FoalNet
from .history import Course, Epoch
from .optimizer import Optimizer

SECONDS_BETWEEN = 10.0
"""Least time between two snapshots: light heads finish several epochs in it."""


class Snapshots:
    """Keeps a fit's whole state in a file (None: nowhere), and takes it up again."""

    def __init__(
        self,
        path: Path | None,
        model: FoalNet,
        optimizer: Optimizer,
        chances: dict[str, torch.Generator],
        device: torch.device,
    ) -> None:
        self._path, self._model, self._optimizer, self._chances = path, model, optimizer, chances
        self._device, self._last = device, time.monotonic()

    def save(self, done: Course) -> None:
        """Keep the state, unless that was done a moment ago."""
        if self._path is None or time.monotonic() - self._last < SECONDS_BETWEEN:
            return
        state = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "chances": {name: chance.get_state() for name, chance in self._chances.items()},
            "torch": torch.get_rng_state(),
            "cuda": self._cuda_state(),
            "history": [asdict(row) for row in done.history],
            "last_gain": done.last_gain,
            "best": done.best.epoch if done.best else 0,
            "best_state": done.best_state,
        }
        with replaced_atomically(self._path) as temporary:
            torch.save(state, temporary)
        self._last = time.monotonic()

    def restore(self) -> Course | None:
        """Take up the state that is there, if any."""
        if self._path is None or not self._path.exists():
            return None
        try:
            return self._take_up(torch.load(self._path, map_location="cpu", weights_only=True))
        except (OSError, EOFError, LookupError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError) as error:
            raise StoreError(
                f"{self._path}: a damaged state of a fit ({error}); remove it, and it begins anew"
            ) from None

    def _take_up(self, state: dict[str, Any]) -> Course:
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        for name, chance in self._chances.items():
            chance.set_state(state["chances"][name])
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self._device)
        history = tuple(Epoch(**row) for row in state["history"])
        return Course(
            best=history[state["best"] - 1],
            history=history,
            last_gain=state["last_gain"],
            best_state={name: value.to(self._device) for name, value in state["best_state"].items()},
        )

    def _cuda_state(self) -> Tensor | None:
        return torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None
