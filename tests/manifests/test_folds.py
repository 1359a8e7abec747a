"""Folds of corpora without sessions."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from foal.manifests.folds import classes_missing_in_folds, folds_by_class, folds_by_speaker, stratified_folds
from foal.shared.utterance import Utterance


def utterance(name: str, **columns: str) -> Utterance:
    return Utterance(id=name, corpus="test", label=columns.pop("label", "hap"), audio=f"{name}.wav", **columns)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_no_speaker_is_in_two_folds_and_no_fold_is_empty(speakers: list[int]) -> None:
    folded = folds_by_speaker([utterance(f"u{n}", speaker=f"s{speaker}") for n, speaker in enumerate(speakers)])
    assert [row.id for row in folded] == [f"u{n}" for n in range(len(speakers))]
    assert len({(row.speaker, row.fold) for row in folded}) == len(set(speakers))
    assert {row.fold for row in folded} == {f"fold{n + 1}" for n in range(min(5, len(set(speakers))))}


@given(st.lists(st.sampled_from(["hap", "sad", "ang"]), min_size=1, max_size=60))
def test_folds_by_class_have_equal_shares_of_each_class(labels: list[str]) -> None:
    folded = folds_by_class([utterance(f"u{n}", label=label) for n, label in enumerate(labels)])
    for label in set(labels):
        counts = Counter(row.fold for row in folded if row.label == label)
        assert max(counts.values()) - min([counts[f"fold{n + 1}"] for n in range(5)]) <= 1


GROUPED = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["hap", "sad"])), min_size=1, max_size=60)


@given(GROUPED)
def test_stratified_folds_keep_groups_together_and_are_numbered_from_1(rows: list[tuple[int, str]]) -> None:
    utterances = [utterance(f"u{n}", label=label) for n, (_, label) in enumerate(rows)]
    groups = [f"g{group}" for group, _ in rows]
    folded = stratified_folds(utterances, groups)
    assert folded == stratified_folds(utterances, groups)
    assert [row.id for row in folded] == [row.id for row in utterances]
    assert len({(group, row.fold) for group, row in zip(groups, folded, strict=True)}) == len(set(groups))
    folds = {row.fold for row in folded}
    if len(set(groups)) < len(groups):
        assert folds == {f"fold{n + 1}" for n in range(len(folds))}


def test_stratified_folds_balance_the_classes_over_speakers() -> None:
    # Every second speaker has one class only: folds by size alone would put several of them into one fold.
    rows = [(speaker, "sad" if speaker % 2 else "hap") for speaker in range(10) for _ in range(6)]
    utterances = [utterance(f"u{n}", label=label) for n, (_, label) in enumerate(rows)]
    folded = stratified_folds(utterances, [str(speaker) for speaker, _ in rows])
    assert Counter((row.fold, row.label) for row in folded) == {
        (f"fold{n + 1}", label): 6 for n in range(5) for label in ("hap", "sad")
    }
    assert classes_missing_in_folds(folded, ["hap", "sad"]) == []


def test_a_class_that_is_missing_in_a_fold_is_named() -> None:
    rows = [utterance("a", fold="fold1"), utterance("b", fold="fold2"), utterance("c", fold="fold2", label="sad")]
    assert classes_missing_in_folds(rows, ["hap", "sad"]) == [
        "fold1: has no utterance of sad; its scores leave them out"
    ]
