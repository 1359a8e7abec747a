"""Cross-validation protocols: which utterances train, which choose the epoch, and which are tested."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise

import torch
from torch import Tensor

from ...shared.config.train_settings import Protocol, TrainSettings
from ...shared.errors import TrainingError
from ...shared.utterance import Utterance
from ..folds.erc_split import plan_erc_split
from ..folds.fixed_sets import fixed_roles
from ..folds.plan import Plan, natural_key, require_whole_dialogs
from ..folds.scenes import plan_scene_blocks
from ..folds.speaker_pairs import speaker_pairs
from .speakers import development_rows


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold, numbered from 1: its test and development group, and the rows of each part (int64, on the CPU).

    Rows that are in no part are not used by the fold. `refit_only_rows` are used by nothing but the training after the
    choice of an epoch (`refit`); only loso-scenes-nested has them.
    """

    number: int
    test: str
    dev: str
    train_rows: Tensor
    dev_rows: Tensor
    test_rows: Tensor
    refit_only_rows: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    @property
    def dev_is_test(self) -> bool:
        """Whether the development group is the test group, which must then never be trained on."""
        return self.dev == self.test

    @property
    def refit_rows(self) -> Tensor:
        """The rows on which a network is trained after the choice: all that the test group allows."""
        return torch.cat([self.train_rows, self.dev_rows, self.refit_only_rows])


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """A protocol applied to a dataset.

    Attributes:
        protocol: name of the protocol.
        kind: kind of group that is held out: session, speaker, fold, or block (session and scenes).
        groups: group of each utterance, n.
        folds: the folds, in the order of their numbers.
        digest: hash of the protocol and of the group of every utterance.
        scene_groups: scenes by the name of the group that is held out together, if the groups are blocks.
        notes: how the groups were made, if not by the manifest alone; they belong to the results.
    """

    protocol: Protocol
    kind: str
    groups: tuple[str, ...]
    folds: tuple[Fold, ...]
    digest: str
    scene_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def selected_on_test(self) -> bool:
        """Whether the epoch is chosen on the test group, which makes the scores optimistically biased."""
        return self.protocol == "loso-reference"

    @property
    def tested(self) -> Tensor:
        """Rows that are tested in a fold, sorted."""
        return torch.cat([fold.test_rows for fold in self.folds]).sort().values


def build_cross_validation(
    utterances: Sequence[Utterance],
    protocol: Protocol | None,
    speakers: Sequence[str],
    *,
    dev_from_train: float | None = None,
    scene_groups: int | None = None,
) -> CrossValidation:
    """Divide a dataset into the folds of a protocol.

    Args:
        utterances: the utterances, n.
        protocol: name of the protocol (None: folds-nested if every utterance has a fold in the manifest, else
            loso-nested).
        speakers: speaker of each utterance, unique across corpora, n.
        dev_from_train: share of the training set that becomes the development set, for folds that are a training and
            a test set only.
        scene_groups: number of groups into which loso-scenes-nested divides the scenes (None: one per scene).

    Raises:
        TrainingError: too few groups, an utterance without a group, or no group left to choose the epoch.
    """
    protocol = resolve_protocol(utterances, protocol)
    if scene_groups is not None and protocol != "loso-scenes-nested":
        raise TrainingError(
            f"--scene-groups (key train.scene_groups) divides the scenes of loso-scenes-nested, but the protocol is "
            f"{protocol}; leave it out, or choose --protocol loso-scenes-nested"
        )
    if protocol in ("loso-scenes-nested", "erc-split"):
        if dev_from_train is not None:
            raise TrainingError(
                "--dev-from-train (key train.dev_from_train) takes a development set from the training set of fixed "
                f"folds train and test, but {protocol} has a development set; leave it out"
            )
        by_scenes = protocol == "loso-scenes-nested"
        plan = plan_scene_blocks(utterances, scene_groups) if by_scenes else plan_erc_split(utterances)
        return _from_plan(utterances, protocol, plan)
    if protocol == "speakers-nested":
        kind, groups = "speaker", _speakers(utterances, speakers)
    elif protocol == "folds-nested":
        kind, groups = "fold", _column(utterances, "fold", lambda u: u.fold)
    else:
        kind, groups = "session", _column(utterances, "session", lambda u: u.session)
    roles = fixed_roles(groups, dev_from_train) if kind == "fold" else None
    notes: tuple[str, ...] = ()
    if dev_from_train is not None and (roles is None or "dev" in roles):
        raise TrainingError(
            "--dev-from-train (key train.dev_from_train) takes a development set from the training set of fixed folds "
            f"train and test, but the {kind}s here are {', '.join(sorted(set(groups), key=natural_key)[:10])}; leave "
            "it out"
        )
    if roles is not None and dev_from_train is not None:
        chosen, note = development_rows(
            utterances, speakers, [row for row, role in enumerate(roles) if role == "train"], dev_from_train
        )
        groups, notes = tuple("dev" if row in chosen else role for row, role in enumerate(roles)), (note,)
    elif roles is not None:
        groups = roles
    names = sorted(set(groups), key=natural_key)
    if roles is not None:
        pairs = [("test", "dev")]
    elif protocol == "loso-reference":
        _require_groups(names, kind, 2, "one to test, the rest to train")
        pairs = [(name, name) for name in names]
    elif kind == "speaker":
        _require_groups(names, kind, 3, "one to test, one to stop early, the rest to train")
        pairs = speaker_pairs(utterances, groups, names)
    else:
        _require_groups(names, kind, 3, "one to test, one to stop early, the rest to train")
        pairs = list(pairwise([*names, names[0]]))
    folds = tuple(_fold(number, test, dev, groups) for number, (test, dev) in enumerate(pairs, start=1))
    digest = _digest(utterances, groups, (protocol, pairs))
    return CrossValidation(protocol=protocol, kind=kind, groups=groups, folds=folds, digest=digest, notes=notes)


def _digest(utterances: Sequence[Utterance], groups: Sequence[str], rest: object) -> str:
    digest = blake2b(digest_size=16)
    for utterance, group in zip(utterances, groups, strict=True):
        digest.update(f"{utterance.id}\0{group}\n".encode())
    digest.update(repr(rest).encode())
    return digest.hexdigest()


def _from_plan(utterances: Sequence[Utterance], protocol: Protocol, plan: Plan) -> CrossValidation:
    """The folds of a protocol that lists the rows of each part."""
    folds = tuple(
        Fold(
            number=number,
            test=fold.test,
            dev=fold.dev,
            train_rows=_rows(fold.train_rows),
            dev_rows=_rows(fold.dev_rows),
            test_rows=_rows(fold.test_rows),
            refit_only_rows=_rows(fold.refit_only_rows),
        )
        for number, fold in enumerate(plan.folds, start=1)
    )
    return CrossValidation(
        protocol=protocol,
        kind=plan.kind,
        groups=plan.groups,
        folds=folds,
        digest=_digest(utterances, plan.groups, (protocol, plan.folds)),
        scene_groups=plan.scene_groups,
        notes=plan.notes,
    )


def cross_validation_of(
    settings: TrainSettings, utterances: Sequence[Utterance], speakers: Sequence[str]
) -> CrossValidation:
    """`build_cross_validation` with the protocol of these settings and the keys that belong to it.

    Raises TrainingError also if the head reads dialogs, and one of them lies in several folds.
    """
    folds = build_cross_validation(
        utterances,
        settings.protocol,
        speakers,
        dev_from_train=settings.dev_from_train,
        scene_groups=settings.scene_groups,
    )
    if settings.over_dialogs:
        require_whole_dialogs(utterances, folds.groups, folds.protocol)
    return folds


def resolve_protocol(utterances: Sequence[Utterance], protocol: Protocol | None) -> Protocol:
    """The protocol itself, or for None folds-nested if every utterance has a fold in the manifest, else loso-nested.

    Raises TrainingError for None if only some utterances have a fold: an empty cell must not change the protocol.
    """
    if protocol is not None:
        return protocol
    empty = [row for row, utterance in enumerate(utterances) if not utterance.fold.strip()]
    if empty and len(empty) < len(utterances):
        named = ", ".join(f"{utterances[row].id!r} (row {row + 1})" for row in empty[:5])
        raise TrainingError(
            f"the column fold of the manifest is empty for {len(empty)} of {len(utterances)} utterances: {named}"
            f"{', ...' if len(empty) > 5 else ''}; fill it in, or choose a protocol that does not read it, such as "
            "--protocol loso-nested"
        )
    return "loso-nested" if empty else "folds-nested"


def check_classes(folds: Sequence[Fold], labels: Tensor, classes: Sequence[str]) -> None:
    """Raise TrainingError if a fold's training set lacks a class; labels (n,) on the CPU."""
    for fold in folds:
        counts = torch.bincount(labels[fold.train_rows], minlength=len(classes))
        if missing := [name for name, count in zip(classes, counts, strict=True) if count == 0]:
            raise TrainingError(
                f"fold {fold.number} (test {fold.test}, development {fold.dev}): expected training utterances of "
                f"every class, got none of {', '.join(missing)}; leave the class out, or choose other folds"
            )


def speakers_in_multiple_folds(groups: Sequence[str], speakers: Sequence[str]) -> list[str]:
    """Speakers that occur in more than one group; if there are any, the results are not speaker-independent."""
    groups_of: dict[str, set[str]] = {}
    for group, speaker in zip(groups, speakers, strict=True):
        groups_of.setdefault(speaker, set()).add(group)
    return sorted((speaker for speaker, names in groups_of.items() if len(names) > 1), key=natural_key)


def _fold(number: int, test: str, dev: str, groups: Sequence[str]) -> Fold:
    rows: dict[str, list[int]] = {"test": [], "dev": [], "train": []}
    for row, name in enumerate(groups):
        rows["test" if name == test else "dev" if name == dev else "train"].append(row)
    if dev == test:
        rows["dev"] = rows["test"]
    tensors = {name: _rows(numbers) for name, numbers in rows.items()}
    return Fold(
        number=number,
        test=test,
        dev=dev,
        train_rows=tensors["train"],
        dev_rows=tensors["dev"],
        test_rows=tensors["test"],
    )


def _rows(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def _column(utterances: Sequence[Utterance], name: str, value: Callable[[Utterance], str]) -> tuple[str, ...]:
    for utterance in utterances:
        if not value(utterance):
            other = "loso-nested" if name == "fold" else "folds-nested"
            raise TrainingError(
                f"utterance {utterance.id!r} belongs to no {name}; fill the column {name} of the manifest, or choose "
                f"another protocol, such as {other}"
            )
    return tuple(value(utterance) for utterance in utterances)


def _speakers(utterances: Sequence[Utterance], speakers: Sequence[str]) -> tuple[str, ...]:
    for utterance in utterances:
        if not utterance.speaker:
            raise TrainingError(
                f"utterance {utterance.id!r} has no speaker; fill the column speaker of the manifest, or choose "
                "another protocol than speakers-nested"
            )
    return tuple(speakers)


def _require_groups(names: Sequence[str], kind: str, minimum: int, why: str) -> None:
    if len(names) < minimum:
        number = {2: "two", 3: "three"}[minimum]
        raise TrainingError(
            f"expected at least {number} {kind}s ({why}), got {len(names)}: {', '.join(names)}; choose another "
            "protocol, or divide the corpus differently"
        )
