from dataclasses import replace

import numpy as np
import pytest

from foal.shared.utterance import Utterance
from foal.tests.train.floor.iemocap_like import label_table
from foal.tests.train.floor.test_folds import dataset
from foal.train.floor.inertia import label_inertia


def turns(*labels: str, speakers: str, dialog: str = "d") -> list[Utterance]:
    return [
        Utterance(id=f"{dialog}{i}", dialog=dialog, speaker=speaker, label=label, start=float(i), turn=i)
        for i, (label, speaker) in enumerate(zip(labels, speakers, strict=True))
    ]


def test_a_turn_is_compared_with_the_turn_before_of_the_same_speaker() -> None:
    table = turns("ang", "sad", "ang", "hap", "sad", speakers="ABABA")
    assert label_inertia(dataset(table)) == {"agreement": 1 / 3, "pairs": 3}
    # The order is that of the starts, and another dialog begins anew.
    assert label_inertia(dataset([*table[::-1], *turns("ang", speakers="A", dialog="e")])) == {
        "agreement": 1 / 3,
        "pairs": 3,
    }


def test_a_turn_without_a_label_makes_no_pair() -> None:
    table = turns("ang", "", "ang", "ang", speakers="AAAA")
    assert label_inertia(dataset(table)) == {"agreement": 1.0, "pairs": 1}
    assert label_inertia(dataset(table, context=False)) == {"agreement": 1.0, "pairs": 2}
    other = [*table, replace(table[0], id="x", label="fru", start=9.0)]
    assert label_inertia(replace(dataset(table), every=tuple(other))) == {"agreement": 1.0, "pairs": 1}


def test_without_dialogs_there_is_nothing_to_compare() -> None:
    assert label_inertia(dataset([replace(turn, dialog="") for turn in turns("ang", "ang", speakers="AA")])) is None


def test_inertia_of_independent_labels_is_chance() -> None:
    table = label_table(turns=20).turns
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = [replace(turn, label=table[row].label) for turn, row in zip(table, order, strict=True)]
    found = label_inertia(dataset(shuffled))
    assert found is not None
    assert found["agreement"] == pytest.approx(0.25, abs=0.05)
