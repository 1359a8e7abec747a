"""The networks of a finished run, and which of them may judge which utterance: none that learned from its group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...shared.errors import StoreError, TrainingError
from ..data.dataset import Dataset
from ..data.protocol import group_of, natural_key
from ..model.checkpoint import load_model
from ..model.foalnet import FoalNet


@dataclass(frozen=True, kw_only=True)
class Judge:
    """One network of a run: what it says of itself (config.json), its seed, and the group that it was tested on."""

    model: FoalNet
    about: Mapping[str, Any]
    seed: int
    fold: int
    test: str


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The judges of one seed, with the rows (m,) of the n that each of them judges, those that nobody may judge, and
    those that are of no group that the run knew.
    """

    n: int
    judges: tuple[tuple[Judge, Tensor], ...]
    barred: Tensor
    foreign: Tensor

    @property
    def rows(self) -> Tensor:
        """All rows that are judged, in order."""
        judged = torch.zeros(self.n, dtype=torch.bool)
        for _, rows in self.judges:
            judged[rows] = True
        return judged.nonzero().squeeze(1)

    def averaged(self, tables: Sequence[Tensor]) -> NDArray[np.float32]:
        """One (m, c) table per judge, of its rows, as one of all n: the mean over judges, NaN for nobody's rows."""
        total, count = torch.zeros(self.n, tables[0].shape[1]), torch.zeros(self.n, 1)
        for (_, rows), table in zip(self.judges, tables, strict=True):
            total.index_add_(0, rows, table)
            count.index_add_(0, rows, torch.ones(len(rows), 1))
        averages: NDArray[np.float32] = (total / count).numpy()
        return averages


def read_judges(run: Path) -> list[Judge]:
    """The networks of a run's folder, or the one of a folder under its models/. Raises StoreError if there are none."""
    single = run / "config.json"
    folders = (
        [run] if single.exists() else sorted((run / "models").glob("seed*-fold*"), key=lambda p: natural_key(p.name))
    )
    if not folders:
        raise StoreError(f"{run}: expected the folder of a finished `foal train`, with models/ in it, got none")
    judges = []
    for folder in folders:
        model, about = load_model(folder)
        try:
            score = about["score"]
            judges.append(Judge(model=model, about=about, seed=score["seed"], fold=score["fold"], test=score["test"]))
            about["settings"], about["groups"]["names"], about["groups"]["corpora"]
        except (KeyError, TypeError):
            raise StoreError(f"{folder}: the model does not say what it was trained on; train it anew") from None
    return judges


def check_encoders(judge: Judge, data: Dataset, run: Path, features: Path) -> None:
    """Raises TrainingError where the features come from another encoder than those that the network learned from."""
    for modality, name in data.names.items():
        was = next(
            (made for stream, made in judge.about["provenance"].items() if stream.partition("/")[0] == modality), None
        )
        now = data.provenance[name]
        shape = judge.model.architecture.frame_shapes.get(modality)
        if was is None or any(was[key] != now[key] for key in ("encoder", "weights")):
            learned = "no features of its kind" if was is None else f"{was['encoder']} (weights {was['weights'][:8]})"
            raise TrainingError(
                f"{run}: expected {modality} features of {learned}, which the network learned from, got "
                f"{now['encoder']} (weights {now['weights'][:8]}) in {features}; extract with that one, or train anew"
            )
        if shape != data.features.frame_shapes[modality]:
            raise TrainingError(
                f"{run}: expected {modality} frames of shape {shape}, got {data.features.frame_shapes[modality]} in "
                f"{features}; extract the same layers, or train anew"
            )


def benches(judges: Sequence[Judge], data: Dataset, rows: Tensor) -> dict[int, Bench]:
    """Who judges whom, by seed.

    An utterance of a group that the run knew is judged by the networks that tested this group; any other one, of
    another corpus or a new session, by all of them together; one of the run's corpus that names no group by nobody.
    """
    about = judges[0].about
    kind, known, corpora = about["groups"]["kind"], set(about["groups"]["names"]), set(about["groups"]["corpora"])
    groups = [group_of(u, kind, speaker, known) for u, speaker in zip(data.utterances, data.speakers, strict=True)]
    # Who names no group may be anybody whom the networks learned from.
    foreign = torch.tensor(
        [
            u.corpus not in corpora or bool(group and group not in known)
            for u, group in zip(data.utterances, groups, strict=True)
        ]
    )
    seated: dict[int, Bench] = {}
    for seed in sorted({judge.seed for judge in judges}):
        of_seed = [judge for judge in judges if judge.seed == seed]
        judged = []
        for judge in of_seed:
            tests = torch.tensor([group == judge.test for group in groups])
            judged.append((judge, rows[(foreign | tests)[rows]]))
        everybody = torch.cat([some for _, some in judged])
        seated[seed] = Bench(
            n=len(data), judges=tuple(judged), barred=rows[~torch.isin(rows, everybody)], foreign=rows[foreign[rows]]
        )
    return seated
