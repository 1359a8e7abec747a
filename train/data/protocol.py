"""Cross-validation protocols: which utterances train, which choose the epoch, and which are tested."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import torch
from torch import Tensor

from ...shared.config.train_settings import Protocol
from ...shared.errors import TrainingError
from ...shared.folds import fold_role
from ...shared.utterance import Utterance
from .speakers import development_rows


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold, numbered from 1: its test and development group, and the rows of each part (int64, on the CPU)."""

    number: int
    test: str
    dev: str
    train_rows: Tensor
    dev_rows: Tensor
    test_rows: Tensor

    @property
    def dev_is_test(self) -> bool:
        """Whether the development group is the test group, which must then never be trained on."""
        return self.dev == self.test


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """A protocol applied to a dataset.

    Attributes:
        protocol: name of the protocol.
        kind: kind of group that is held out: session, speaker or fold.
        groups: group of each utterance, n.
        folds: the folds, in the order of their numbers.
        digest: hash of the protocol and of the group of every utterance.
        notes: how the groups were made, if not by the manifest alone; they belong to the results.
    """

    protocol: Protocol
    kind: str
    groups: tuple[str, ...]
    folds: tuple[Fold, ...]
    digest: str
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
) -> CrossValidation:
    """Divide a dataset into the folds of a protocol.

    Args:
        utterances: the utterances, n.
        protocol: name of the protocol (None: folds-nested if every utterance has a fold in the manifest, else
            loso-nested).
        speakers: speaker of each utterance, unique across corpora, n.
        dev_from_train: share of the training set that becomes the development set, for folds that are a training and
            a test set only.

    Raises:
        TrainingError: too few groups, an utterance without a group, or no group left to choose the epoch.
    """
    protocol = resolve_protocol(utterances, protocol)
    if protocol == "speakers-nested":
        kind, groups = "speaker", _speakers(utterances, speakers)
    elif protocol == "folds-nested":
        kind, groups = "fold", _column(utterances, "fold", lambda u: u.fold)
    else:
        kind, groups = "session", _column(utterances, "session", lambda u: u.session)
    roles = _fixed_roles(groups, dev_from_train) if kind == "fold" else None
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
        plan = [("test", "dev")]
    elif protocol == "loso-reference":
        _require_groups(names, kind, 2, "one to test, the rest to train")
        plan = [(name, name) for name in names]
    elif kind == "speaker":
        _require_groups(names, kind, 3, "one to test, one to stop early, the rest to train")
        plan = _speaker_plan(utterances, groups, names)
    else:
        _require_groups(names, kind, 3, "one to test, one to stop early, the rest to train")
        plan = list(pairwise([*names, names[0]]))
    folds = tuple(_fold(number, test, dev, groups) for number, (test, dev) in enumerate(plan, start=1))
    digest = blake2b(digest_size=16)
    for utterance, group in zip(utterances, groups, strict=True):
        digest.update(f"{utterance.id}\0{group}\n".encode())
    digest.update(repr((protocol, plan)).encode())
    return CrossValidation(
        protocol=protocol, kind=kind, groups=groups, folds=folds, digest=digest.hexdigest(), notes=notes
    )


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


def _fixed_roles(folds: Sequence[str], dev_from_train: float | None) -> tuple[str, ...] | None:
    """The set of each utterance (train, dev or test) if the folds are such sets; None for folds to rotate."""
    names = sorted(set(folds), key=natural_key)
    roles = {name: fold_role(name) for name in names}
    found = set(roles.values())
    if not {"train", "test"} & found:
        return None
    if others := [name for name in names if roles[name] is None]:
        fixed = ", ".join(name for name in names if roles[name])
        raise TrainingError(
            f"the column fold has fixed sets ({fixed}) beside other folds ({', '.join(others[:10])}); expected train, "
            "dev and test, or folds without these names"
        )
    if found == {"train", "test"} and dev_from_train is None:
        raise TrainingError(
            f"the column fold has a training and a test set ({', '.join(names)}), but no development set, on which the "
            "epoch is chosen; take one from the training set with --dev-from-train 0.15, or mark rows with fold dev"
        )
    if not {"train", "test"} <= found:
        missing = "training" if "train" not in found else "test"
        raise TrainingError(f"the column fold has no {missing} set, got only {', '.join(names)}")
    return tuple(str(roles[name]) for name in folds)


def group_of(utterance: Utterance, kind: str, speaker: str, names: Collection[str]) -> str:
    """The group of an utterance that may be new to the cross-validation; "" if it names none.

    Args:
        utterance: any utterance.
        kind: kind of group: session, speaker or fold.
        speaker: its speaker, unique across corpora.
        names: groups of the cross-validation.
    """
    if kind == "speaker":
        return speaker
    group = utterance.fold if kind == "fold" else utterance.session
    return (fold_role(group) or group) if kind == "fold" and group not in names else group


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


def natural_key(text: str) -> list[str | int]:
    """Sort key that puts session2 before session10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", text)]


def _fold(number: int, test: str, dev: str, groups: Sequence[str]) -> Fold:
    rows: dict[str, list[int]] = {"test": [], "dev": [], "train": []}
    for row, name in enumerate(groups):
        rows["test" if name == test else "dev" if name == dev else "train"].append(row)
    if dev == test:
        rows["dev"] = rows["test"]
    tensors = {name: torch.tensor(numbers, dtype=torch.int64) for name, numbers in rows.items()}
    return Fold(
        number=number,
        test=test,
        dev=dev,
        train_rows=tensors["train"],
        dev_rows=tensors["dev"],
        test_rows=tensors["test"],
    )


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


def _speaker_plan(
    utterances: Sequence[Utterance], groups: Sequence[str], names: Sequence[str]
) -> list[tuple[str, str]]:
    """Pair each test speaker with the next speaker of the same session (of the corpus, if it has no sessions)."""
    sessions: dict[str, str] = {}
    for utterance, speaker in zip(utterances, groups, strict=True):
        sessions.setdefault(speaker, f"{utterance.corpus}/{utterance.session}")
    speakers: Mapping[str, list[str]] = {session: [] for session in sessions.values()}
    for name in names:
        speakers[sessions[name]].append(name)
    plan = []
    for name in names:
        in_session = speakers[sessions[name]]
        if len(in_session) < 2:
            session = sessions[name].partition("/")[2] or "without a name"
            raise TrainingError(
                f"session {session}: expected a second speaker, on whom the epoch is chosen when {name} is tested, got "
                "only one; choose another protocol than speakers-nested"
            )
        plan.append((name, in_session[(in_session.index(name) + 1) % len(in_session)]))
    return plan


def _require_groups(names: Sequence[str], kind: str, minimum: int, why: str) -> None:
    if len(names) < minimum:
        number = {2: "two", 3: "three"}[minimum]
        raise TrainingError(
            f"expected at least {number} {kind}s ({why}), got {len(names)}: {', '.join(names)}; choose another "
            "protocol, or divide the corpus differently"
        )
