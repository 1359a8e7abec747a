from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from foal.shared.config.train_settings import Protocol
from foal.shared.errors import TrainingError
from foal.shared.utterance import Utterance
from foal.train.data.protocol import (
    CrossValidation,
    Fold,
    build_cross_validation,
    check_classes,
    speakers_in_multiple_folds,
)
from foal.train.folds.groups import group_of
from foal.train.folds.plan import natural_key


def corpus(
    n: int,
    *,
    session: Sequence[str] | None = None,
    speaker: Sequence[str] | None = None,
    fold: Sequence[str] | None = None,
) -> list[Utterance]:
    return [
        Utterance(
            id=f"u{i}",
            corpus="test",
            session=session[i] if session else "",
            speaker=speaker[i] if speaker else "",
            fold=fold[i] if fold else "",
        )
        for i in range(n)
    ]


def cross_validation(utterances: Sequence[Utterance], protocol: Protocol | None) -> CrossValidation:
    return build_cross_validation(utterances, protocol, [f"{u.corpus}/{u.speaker}" for u in utterances])


def folds_of_sessions(names: Sequence[str], protocol: Protocol = "loso-nested") -> tuple[Fold, ...]:
    return cross_validation(corpus(len(names), session=names), protocol).folds


def parts_of(fold: Fold) -> tuple[set[int], set[int], set[int]]:
    return set(fold.train_rows.tolist()), set(fold.dev_rows.tolist()), set(fold.test_rows.tolist())


def check_nested(cv: CrossValidation, n: int) -> None:
    """The parts of a fold are disjoint and complete, and every utterance is tested once."""
    for fold in cv.folds:
        train, dev, test = parts_of(fold)
        assert train | dev | test == set(range(n))
        assert len(train) + len(dev) + len(test) == n
        assert test
        assert {cv.groups[row] for row in test} == {fold.test}
        assert {cv.groups[row] for row in dev} == {fold.dev}
        assert not {fold.test, fold.dev} & {cv.groups[row] for row in train}
    assert [fold.number for fold in cv.folds] == list(range(1, len(cv.folds) + 1))
    assert cv.tested.tolist() == list(range(n))
    assert not cv.selected_on_test


SESSIONS = st.lists(st.sampled_from([f"session{k}" for k in range(1, 12)]), min_size=1, max_size=60)


@given(SESSIONS)
def test_loso_nested_is_disjoint_and_rotates(groups: list[str]) -> None:
    names = sorted(set(groups), key=natural_key)
    utterances = corpus(len(groups), session=groups)
    if len(names) < 3:
        with pytest.raises(TrainingError, match=f"expected at least three sessions .* got {len(names)}: session"):
            cross_validation(utterances, "loso-nested")
        return
    cv = cross_validation(utterances, "loso-nested")
    check_nested(cv, len(groups))
    assert cv.kind == "session"
    assert [fold.test for fold in cv.folds] == names
    assert [fold.dev for fold in cv.folds] == [*names[1:], names[0]]


@given(SESSIONS)
def test_loso_reference_is_marked_as_selected_on_test(groups: list[str]) -> None:
    names = sorted(set(groups), key=natural_key)
    utterances = corpus(len(groups), session=groups)
    if len(names) < 2:
        with pytest.raises(TrainingError, match=r"expected at least two sessions .* got 1: session"):
            cross_validation(utterances, "loso-reference")
        return
    cv = cross_validation(utterances, "loso-reference")
    assert cv.selected_on_test
    assert [(fold.test, fold.dev) for fold in cv.folds] == [(name, name) for name in names]
    for fold in cv.folds:
        train, dev, test = parts_of(fold)
        assert dev == test == {row for row, group in enumerate(groups) if group == fold.test}
        assert train == set(range(len(groups))) - test
    assert cv.tested.tolist() == list(range(len(groups)))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=60))
def test_speakers_nested_selects_on_the_other_speaker_of_the_session(
    speakers_by_session: list[tuple[int, int]],
) -> None:
    session = [f"session{s}" for s, _ in speakers_by_session]
    speaker = [f"session{s}-{k}" for s, k in speakers_by_session]
    of_session = {name: sorted({k for k, s in zip(speaker, session, strict=True) if s == name}) for name in session}
    utterances = corpus(len(speakers_by_session), session=session, speaker=speaker)
    if len(set(speaker)) < 3:
        with pytest.raises(TrainingError, match="expected at least three speakers"):
            cross_validation(utterances, "speakers-nested")
        return
    if single := [name for name, members in of_session.items() if len(members) < 2]:
        with pytest.raises(TrainingError, match="expected a second speaker, on whom the epoch is chosen") as caught:
            cross_validation(utterances, "speakers-nested")
        assert any(str(caught.value).startswith(f"session {name}: ") for name in single)
        assert "\n" not in str(caught.value)
        return
    cv = cross_validation(utterances, "speakers-nested")
    check_nested(cv, len(speakers_by_session))
    assert cv.kind == "speaker"
    for fold in cv.folds:
        assert fold.dev != fold.test
        assert fold.dev.rpartition("-")[0] == fold.test.rpartition("-")[0]
    for members in of_session.values():
        if len(members) == 2:
            devs = {fold.test: fold.dev for fold in cv.folds}
            assert devs[f"test/{members[0]}"] == f"test/{members[1]}"
            assert devs[f"test/{members[1]}"] == f"test/{members[0]}"


def test_without_sessions_the_next_speaker_is_the_development_group() -> None:
    cv = cross_validation(corpus(6, speaker=["a", "b", "c"] * 2), "speakers-nested")
    check_nested(cv, 6)
    assert [(fold.test, fold.dev) for fold in cv.folds] == [
        ("test/a", "test/b"),
        ("test/b", "test/c"),
        ("test/c", "test/a"),
    ]


@given(st.lists(st.sampled_from(["f1", "f2", "f3", "f10"]), min_size=1, max_size=40), st.booleans())
def test_folds_of_the_manifest_rotate_and_are_the_default(folds: list[str], explicit: bool) -> None:
    names = sorted(set(folds), key=natural_key)
    assume(len(names) >= 3)
    cv = cross_validation(corpus(len(folds), fold=folds), "folds-nested" if explicit else None)
    check_nested(cv, len(folds))
    assert (cv.protocol, cv.kind) == ("folds-nested", "fold")
    assert [(fold.test, fold.dev) for fold in cv.folds] == list(zip(names, [*names[1:], names[0]], strict=True))


def test_an_empty_cell_in_the_column_fold_is_an_error_that_names_the_utterance() -> None:
    utterances = corpus(6, session=["1", "2", "3"] * 2, fold=["a", "b", "c"] * 2)
    assert cross_validation(utterances, None).protocol == "folds-nested"
    partly = [*utterances[:-1], replace(utterances[-1], fold="")]
    with pytest.raises(TrainingError, match=r"fold of the manifest is empty for 1 of 6 utterances: 'u5' \(row 6\);"):
        cross_validation(partly, None)
    assert cross_validation(partly, "loso-nested").kind == "session"
    assert cross_validation([replace(u, fold="") for u in utterances], None).protocol == "loso-nested"
    assert cross_validation(utterances, "loso-nested").kind == "session"


@pytest.mark.parametrize(
    "names",
    [
        ("train", "dev", "test"),
        ("Train", "validation", "TEST"),
        ("train", "val", "test"),
        ("training set", "VALID", "Testing"),
        ("train", "development", " test"),
    ],
)
def test_folds_named_train_dev_and_test_form_one_fold(names: tuple[str, str, str]) -> None:
    cv = cross_validation(corpus(8, fold=[names[i] for i in (0, 0, 1, 2, 0, 1, 2, 0)]), None)
    assert cv.protocol == "folds-nested"
    (fold,) = cv.folds
    assert (fold.number, fold.test, fold.dev) == (1, "test", "dev")
    assert parts_of(fold) == ({0, 1, 4, 7}, {2, 5}, {3, 6})
    assert cv.tested.tolist() == [3, 6]
    assert set(cv.groups) == {"train", "dev", "test"}


def test_train_and_test_folds_without_a_development_fold_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"\(test, train\), but no development set.* --dev-from-train 0.15"):
        cross_validation(corpus(6, fold=["train", "test"] * 3), None)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (("train", "dev", "eval"), r"fixed sets \(dev, train\) beside other folds \(eval\)"),
        (("train", "fold2", "fold3"), r"fixed sets \(train\) beside other folds \(fold2, fold3\)"),
        (("test", "dev", "valid"), "no training set, got only dev, test, valid"),
        (("train", "dev", "val"), "no test set, got only dev, train, val"),
    ],
)
def test_fixed_sets_are_complete_and_alone(folds: tuple[str, str, str], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        cross_validation(corpus(6, fold=folds * 2), None)


def test_an_utterance_without_a_group_is_refused() -> None:
    utterances = corpus(6, session=["1", "2", "3"] * 2, speaker=["a", "b", "c"] * 2)
    with pytest.raises(TrainingError, match=r"'u1' belongs to no session; fill the column session .* folds-nested"):
        cross_validation([utterances[0], replace(utterances[1], session=""), *utterances[2:]], "loso-nested")
    with pytest.raises(TrainingError, match=r"'u0' belongs to no fold; fill the column fold .* loso-nested"):
        cross_validation(utterances, "folds-nested")
    with pytest.raises(TrainingError, match=r"'u5' has no speaker; fill the column speaker"):
        cross_validation([*utterances[:5], replace(utterances[5], speaker="")], "speakers-nested")


PROTOCOLS: list[Protocol] = ["loso-nested", "loso-reference", "speakers-nested", "folds-nested"]


@given(protocol=st.sampled_from(PROTOCOLS), row=st.integers(0, 23), target=st.integers(0, 5))
def test_the_digest_changes_when_an_utterance_moves(protocol: Protocol, row: int, target: int) -> None:
    speakers = [f"s{i % 6 + 1}" for i in range(24)]
    utterances = corpus(24, session=[f"x{i % 6 // 2}" for i in range(24)], speaker=speakers, fold=speakers)
    # The utterance gets the session, speaker and fold of another utterance.
    moved = list(utterances)
    moved[row] = replace(utterances[target], id=f"u{row}")
    same, other = cross_validation(utterances, protocol), cross_validation(moved, protocol)
    assert cross_validation(list(utterances), protocol).digest == same.digest
    assert (same.groups == other.groups) == (same.digest == other.digest)


def test_the_digest_depends_on_protocol_ids_and_order() -> None:
    utterances = corpus(6, session=["1", "2", "3"] * 2, speaker=["a", "b", "c"] * 2, fold=["1", "2", "3"] * 2)
    renamed = [replace(utterances[0], id="other"), *utterances[1:]]
    digests = [
        cross_validation(utterances, protocol).digest for protocol in ("loso-nested", "loso-reference", "folds-nested")
    ]
    digests += [
        cross_validation(changed, "loso-nested").digest for changed in (renamed, utterances[::-1], utterances[:5])
    ]
    assert len(set(digests)) == 6


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("names", [("train", "val", "test"), ("f1", "f2", "f3"), ("val", "a", "b")], ids=str)
def test_the_group_of_an_utterance_is_that_of_its_fold(protocol: Protocol, names: tuple[str, str, str]) -> None:
    utterances = corpus(
        12, session=["1", "2", "3"] * 4, speaker=[f"{i % 3}{i // 3 % 2}" for i in range(12)], fold=names * 4
    )
    cv = cross_validation(utterances, protocol)
    speakers = [f"test/{u.speaker}" for u in utterances]
    groups = [group_of(u, cv.kind, speaker, cv.groups) for u, speaker in zip(utterances, speakers, strict=True)]
    assert tuple(groups) == cv.groups


def test_groups_are_in_natural_order() -> None:
    names = ["session10", "session2", "session1", "10", "9"]
    assert [fold.test for fold in folds_of_sessions(names)] == ["9", "10", "session1", "session2", "session10"]


def test_a_class_missing_from_a_training_group_is_refused() -> None:
    groups, labels = ["s1", "s1", "s2", "s2", "s3", "s3"], torch.tensor([0, 1, 0, 1, 0, 0])
    with pytest.raises(TrainingError, match=r"fold 1 \(test s1, development s2\): .* got none of sad"):
        check_classes(folds_of_sessions(groups), labels, ("hap", "sad"))
    # A class may be missing from a development or test group.
    groups, labels = [*groups, "s4", "s4"], torch.tensor([0, 1, 0, 1, 0, 0, 0, 1])
    check_classes(folds_of_sessions(groups), labels, ("hap", "sad"))


def test_speakers_in_multiple_folds_are_listed() -> None:
    assert speakers_in_multiple_folds(["1", "1", "2", "3"], ["a", "b", "b", "c"]) == ["b"]
