"""The networks of a finished run, and which of them score which utterance: none that was trained on its group."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...shared.errors import StoreError, TrainingError
from ..data.dataset import Dataset
from ..folds.groups import Blocks, group_of
from ..folds.plan import natural_key
from ..folds.scenes import KIND
from ..model.checkpoint import load_model
from ..model.networks import Network

FINAL = 0
"""The fold of a network that was trained on all utterances; folds count from 1."""


@dataclass(frozen=True, kw_only=True)
class FoldModel:
    """One network of a run: its config.json (`metadata`), its seed and fold, and the group that the fold tested."""

    model: Network
    metadata: Mapping[str, Any]
    seed: int
    fold: int
    test: str

    @property
    def is_final(self) -> bool:
        """Whether the network was trained on all utterances of the run, and therefore scores none."""
        return self.fold == FINAL


DataOf = Callable[[FoldModel], Dataset]
"""Gives the dataset with the features that a network reads."""


@dataclass(frozen=True, kw_only=True)
class SeedEnsemble:
    """The networks of one seed and the utterances that each of them scores.

    Attributes:
        n: utterances of the dataset.
        members: each network with the rows (m,) that it scores.
        excluded: rows that no network may score, because all may have been trained on their group.
        unseen_groups: rows of groups that the run did not contain; all networks score them together.
    """

    n: int
    members: tuple[tuple[FoldModel, Tensor], ...]
    excluded: Tensor
    unseen_groups: Tensor

    @property
    def rows(self) -> Tensor:
        """All rows that are scored, sorted."""
        scored = torch.zeros(self.n, dtype=torch.bool)
        for _, rows in self.members:
            scored[rows] = True
        return scored.nonzero().squeeze(1)

    def average(self, tables: Sequence[Tensor]) -> NDArray[np.float32]:
        """Average over members.

        Args:
            tables: for each member, a table (m, c) of its rows.

        Returns:
            (n, c); NaN for rows that are not scored.
        """
        total, count = torch.zeros(self.n, tables[0].shape[1]), torch.zeros(self.n, 1)
        for (_, rows), table in zip(self.members, tables, strict=True):
            total.index_add_(0, rows, table)
            count.index_add_(0, rows, torch.ones(len(rows), 1))
        averages: NDArray[np.float32] = (total / count).numpy()
        return averages


def members_by_fold(ensembles: Mapping[int, SeedEnsemble]) -> list[tuple[FoldModel, Tensor]]:
    """The networks of all seeds and the rows that each scores, those of a fold in a row."""
    members = [member for ensemble in ensembles.values() for member in ensemble.members]
    return sorted(members, key=lambda member: member[0].fold)


def load_fold_models(run: Path, *, fold: int | None = None, final: bool = False) -> list[FoldModel]:
    """Load the networks of a run.

    Args:
        run: the folder of a run, or one folder under its models/.
        fold: only the networks of this fold.
        final: the networks that `foal train --final` trained on all utterances, instead of those of the folds. They
            have fold 0 and no test group.

    Raises:
        StoreError: there are no such networks, or one of them is corrupt or incomplete.
        TrainingError: `run` is a network trained on all utterances, but `final` is false: it can score nothing.
    """
    if (run / "config.json").exists():
        loaded = [_load_fold_model(run)]
        if loaded[0].is_final and not final:
            raise TrainingError(
                f"{run}: expected networks of folds, got one that was trained on all utterances of the run, so that no "
                "score belongs to it; evaluate the run itself"
            )
        return loaded
    folders = sorted(
        (run / "models").glob("final-seed*" if final else "seed*-fold*"), key=lambda p: natural_key(p.name)
    )
    if not folders:
        if final and (run / "models").is_dir():
            raise StoreError(f"{run}: the run has no final model; train it with `foal train --final --resume`")
        raise StoreError(f"{run}: expected the folder of a finished `foal train` with models/, found no models")
    chosen = [folder for folder in folders if fold is None or folder.name.endswith(f"-fold{fold}")]
    if not chosen:
        numbers = sorted({folder.name.rpartition("-fold")[2] for folder in folders}, key=natural_key)
        raise StoreError(f"{run}: expected one of the folds {', '.join(numbers)}, got {fold}")
    return [_load_fold_model(folder) for folder in chosen]


def _load_fold_model(folder: Path) -> FoldModel:
    model, metadata = load_model(folder)
    return fold_model_of(model, metadata, folder)


def fold_model_of(model: Network, metadata: Mapping[str, Any], folder: Path) -> FoldModel:
    """A network with its config.json. Raises StoreError if that does not describe the training data."""
    try:
        for name in ("names", "corpora"):
            metadata["groups"][name]
        metadata["settings"]
        if metadata.get("final"):
            return FoldModel(model=model, metadata=metadata, seed=metadata["seed"], fold=FINAL, test="")
        score = metadata["score"]
        return FoldModel(model=model, metadata=metadata, seed=score["seed"], fold=score["fold"], test=score["test"])
    except (KeyError, TypeError):
        raise StoreError(f"{folder}: config.json does not describe the training data; train again") from None


def check_encoders(fold_model: FoldModel, data: Dataset, run: Path, features: Path) -> None:
    """Raise TrainingError if the features come from another encoder than those of the training."""
    shapes = fold_model.model.architecture.frame_shapes
    provenance = fold_model.metadata["provenance"]
    of_fold = fold_model.metadata.get("fold_streams", {}).get(str(fold_model.fold))
    trained_streams = of_fold or dict(zip(shapes, fold_model.metadata["streams"], strict=True))
    for key, name in data.stream_names.items():
        if key not in trained_streams:
            raise TrainingError(f"{run}: the network was not trained on {key} features; train again with them")
        trained, present = provenance[trained_streams[key]], data.provenance[name]
        if any(trained[part] != present[part] for part in ("encoder", "weights")):
            raise TrainingError(
                f"{run}: expected {key} features of {trained['encoder']} (weights {trained['weights'][:8]}), "
                f"which the network was trained on, got {present['encoder']} (weights {present['weights'][:8]}) in "
                f"{features}; extract with the same encoder, or train again"
            )
        if shapes[key] != data.features.frame_shapes[key]:
            raise TrainingError(
                f"{run}: expected {key} frames of shape {shapes[key]}, got {data.features.frame_shapes[key]} in "
                f"{features}; extract the same layers, or train again"
            )


def assign_models(models: Sequence[FoldModel], data: Dataset, rows: Tensor) -> dict[int, SeedEnsemble]:
    """Decide which networks score which utterances.

    An utterance of a group of the run is scored by the networks that tested this group. An utterance of another corpus
    or of a new group is scored by all networks. An utterance of the run's corpus without a group is not scored: any
    network may have been trained on its speaker. Of a run over blocks of session and scenes, a network scores what
    shares neither session nor scene with its training: a known scene of a new session is scored by the networks that
    tested this scene.

    Args:
        models: the networks of a run.
        data: the dataset.
        rows: the utterances to score, (m,).

    Returns:
        The ensemble of each seed.
    """
    groups = models[0].metadata["groups"]
    known, corpora = set(groups["names"]), set(groups["corpora"])
    names = groups_of(data, groups, known)
    unseen = torch.tensor(
        [
            utterance.corpus not in corpora or bool(name and name not in known)
            for utterance, name in zip(data.utterances, names, strict=True)
        ]
    )
    blocks = Blocks(groups) if groups["kind"] == KIND else None
    other_corpus = torch.tensor([utterance.corpus not in corpora for utterance in data.utterances])
    ensembles: dict[int, SeedEnsemble] = {}
    for seed in sorted({fold_model.seed for fold_model in models}):
        members = []
        for fold_model in models:
            if fold_model.seed == seed:
                if blocks is None:
                    scored_by = unseen | torch.tensor([name == fold_model.test for name in names])
                else:
                    scored_by = other_corpus | torch.tensor(
                        [blocks.is_unseen(utterance, fold_model.test) for utterance in data.utterances]
                    )
                members.append((fold_model, rows[scored_by[rows]]))
        scored = torch.cat([member_rows for _, member_rows in members])
        ensembles[seed] = SeedEnsemble(
            n=len(data),
            members=tuple(members),
            excluded=rows[~torch.isin(rows, scored)],
            unseen_groups=rows[unseen[rows] & torch.isin(rows, scored)],
        )
    return ensembles


def groups_of(data: Dataset, groups: Mapping[str, Any], known: set[str]) -> list[str]:
    """The group of every utterance in terms of a run; "" for an utterance without one.

    Args:
        data: the dataset.
        groups: `groups` of run.json.
        known: its names.
    """
    return [
        group_of(utterance, groups["kind"], speaker, known, groups.get("scene_groups"))
        for utterance, speaker in zip(data.utterances, data.speakers, strict=True)
    ]


def training_mask(
    fold_model: FoldModel, data: Dataset, metadata: Mapping[str, Any], *, dev: bool | None = None
) -> Tensor:
    """Which utterances (n,) are of groups that a network was trained on.

    Args:
        fold_model: the network.
        data: the dataset.
        metadata: config.json of the run.
        dev: whether the development group counts as well (None: if the network was trained on it, `refit`).
    """
    groups = metadata["groups"]
    with_dev = metadata["settings"]["refit"] if dev is None else dev
    dev_group = next((fold["dev"] for fold in metadata["fold_groups"] if fold["fold"] == fold_model.fold), "")
    excluded = [fold_model.test] if with_dev or not dev_group else [fold_model.test, dev_group]
    if groups["kind"] == KIND:
        blocks = Blocks(groups)
        return torch.tensor([blocks.is_training(utterance, *excluded) for utterance in data.utterances])
    known = set(groups["names"])
    return torch.tensor([name in known and name not in excluded for name in groups_of(data, groups, known)])
