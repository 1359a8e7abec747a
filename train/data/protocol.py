"""Who is trained on, who chooses the epoch, and who is tested."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import torch
from torch import Tensor

from ...shared.config.train_settings import Protocol
from ...shared.errors import TrainingError
from ...shared.utterance import Utterance

FIXED = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev", "test": "test"}
"""Names of folds that say what they are for."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One of K folds, numbered from 1: the groups tested and used for early stopping, and rows (CPU, int64) of each."""

    number: int
    test: str
    dev: str
    train_rows: Tensor
    dev_rows: Tensor
    test_rows: Tensor


@dataclass(frozen=True, kw_only=True)
class Split:
    """A protocol applied to a dataset: its folds, the group of each utterance, and what kind of group that is.

    `selected_on_test`: the epoch was chosen on the test group, and the numbers are too good.
    """

    protocol: Protocol
    kind: str
    groups: tuple[str, ...]
    folds: tuple[Fold, ...]
    digest: str

    @property
    def selected_on_test(self) -> bool:
        """Whether the test group chose the epoch."""
        return self.protocol == "loso-reference"

    @property
    def tested(self) -> Tensor:
        """The rows that some fold tests, in order."""
        return torch.cat([fold.test_rows for fold in self.folds]).sort().values


def split(utterances: Sequence[Utterance], protocol: Protocol | None, speakers: Sequence[str]) -> Split:
    """The folds of a protocol (None: the manifest's folds if every utterance has one, else loso-nested).

    `speakers` (n) are the utterances' speakers, told apart over corpora. Raises TrainingError where the protocol
    cannot be had: too few groups, an utterance without one, nobody left to choose the epoch.
    """
    if protocol is None:
        protocol = "folds-nested" if all(u.fold for u in utterances) else "loso-nested"
    if protocol == "speakers-nested":
        kind, groups = "speaker", _speakers(utterances, speakers)
    elif protocol == "folds-nested":
        kind, groups = "fold", _column(utterances, "fold", lambda u: u.fold)
    else:
        kind, groups = "session", _column(utterances, "session", lambda u: u.session)
    names = sorted(set(groups), key=natural_key)
    if kind == "fold" and {FIXED.get(name.lower()) for name in names} == {"train", "dev", "test"}:
        purpose = {name: FIXED[name.lower()] for name in names}
        plan = [("test", "dev")]
        groups = tuple(purpose[name] for name in groups)
    elif protocol == "loso-reference":
        _enough(names, kind, 2, "one to test, the rest to train")
        plan = [(name, name) for name in names]
    elif kind == "speaker":
        _enough(names, kind, 3, "one to test, one to stop early, the rest to train")
        plan = _speaker_plan(utterances, groups, names)
    else:
        _enough(names, kind, 3, "one to test, one to stop early, the rest to train")
        plan = list(pairwise([*names, names[0]]))
    folds = tuple(_fold(number, test, dev, groups) for number, (test, dev) in enumerate(plan, start=1))
    digest = blake2b(digest_size=16)
    for utterance, group in zip(utterances, groups, strict=True):
        digest.update(f"{utterance.id}\0{group}\n".encode())
    digest.update(repr((protocol, plan)).encode())
    return Split(protocol=protocol, kind=kind, groups=groups, folds=folds, digest=digest.hexdigest())


def group_of(utterance: Utterance, kind: str, speaker: str, names: Collection[str]) -> str:
    """The group of an utterance that may not have been in the split, whose groups were `names`: "" if nothing tells."""
    if kind == "speaker":
        return speaker
    group = utterance.fold if kind == "fold" else utterance.session
    return FIXED.get(group.lower(), group) if kind == "fold" and group not in names else group


def check_classes(folds: Sequence[Fold], labels: Tensor, classes: Sequence[str]) -> None:
    """Raises TrainingError that names the fold and the class nobody could learn there; labels (n,) on the CPU."""
    for fold in folds:
        counts = torch.bincount(labels[fold.train_rows], minlength=len(classes))
        if missing := [name for name, count in zip(classes, counts, strict=True) if count == 0]:
            raise TrainingError(
                f"fold {fold.number} (test {fold.test}, development {fold.dev}): expected training utterances of "
                f"every class, got none of {', '.join(missing)}; leave the class out, or cut the folds otherwise"
            )


def speakers_in_several(groups: Sequence[str], speakers: Sequence[str]) -> list[str]:
    """The speakers that occur in more than one group: with any, the results are not speaker-independent."""
    seen: dict[str, set[str]] = {}
    for group, speaker in zip(groups, speakers, strict=True):
        seen.setdefault(speaker, set()).add(group)
    return sorted((speaker for speaker, where in seen.items() if len(where) > 1), key=natural_key)


def natural_key(text: str) -> list[str | int]:
    """Sorts session2 before session10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", text)]


def _fold(number: int, test: str, dev: str, groups: Sequence[str]) -> Fold:
    rows: dict[str, list[int]] = {"test": [], "dev": [], "train": []}
    for row, name in enumerate(groups):
        rows["test" if name == test else "dev" if name == dev else "train"].append(row)
    if dev == test:
        rows["dev"] = rows["test"]
    tensors = {name: torch.tensor(some, dtype=torch.int64) for name, some in rows.items()}
    return Fold(
        number=number,
        test=test,
        dev=dev,
        train_rows=tensors["train"],
        dev_rows=tensors["dev"],
        test_rows=tensors["test"],
    )


def _column(utterances: Sequence[Utterance], name: str, of: Callable[[Utterance], str]) -> tuple[str, ...]:
    for utterance in utterances:
        if not of(utterance):
            other = "loso-nested" if name == "fold" else "folds-nested"
            raise TrainingError(
                f"utterance {utterance.id!r} belongs to no {name}; fill the column {name} of the manifest, or choose "
                f"another protocol, such as {other}"
            )
    return tuple(of(utterance) for utterance in utterances)


def _speakers(utterances: Sequence[Utterance], speakers: Sequence[str]) -> tuple[str, ...]:
    for utterance in utterances:
        if not utterance.speaker:
            raise TrainingError(
                f"utterance {utterance.id!r} has no speaker; fill the column speaker of the manifest, or choose "
                "another protocol than speakers-nested"
            )
    return tuple(speakers)


def _speaker_plan(
    utterances: Sequence[Utterance], groups: Sequence[str], names: Sequence[str]
) -> list[tuple[str, str]]:
    """Each speaker with the next one of the same session (of all, where the corpus has no sessions)."""
    sessions: dict[str, str] = {}
    for utterance, speaker in zip(utterances, groups, strict=True):
        sessions.setdefault(speaker, f"{utterance.corpus}/{utterance.session}")
    together: Mapping[str, list[str]] = {session: [] for session in sessions.values()}
    for name in names:
        together[sessions[name]].append(name)
    plan = []
    for name in names:
        others = together[sessions[name]]
        if len(others) < 2:
            session = sessions[name].partition("/")[2] or "without a name"
            raise TrainingError(
                f"session {session}: expected a second speaker who chooses the epoch when {name} is tested, got one "
                "alone; choose another protocol than speakers-nested"
            )
        plan.append((name, others[(others.index(name) + 1) % len(others)]))
    return plan


def _enough(names: Sequence[str], kind: str, least: int, why: str) -> None:
    if len(names) < least:
        number = {2: "two", 3: "three"}[least]
        raise TrainingError(
            f"expected at least {number} {kind}s ({why}), got {len(names)}: {', '.join(names)}; choose another "
            "protocol, or divide the corpus otherwise"
        )
