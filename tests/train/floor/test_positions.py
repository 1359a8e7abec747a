from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foal.shared.utterance import Utterance
from foal.train.floor.positions import UNKNOWN, positions_of, scene_part


@pytest.mark.parametrize(
    ("dialog", "scene", "part"),
    [
        ("Ses01F_script01_1", "script01", "script01_1"),
        ("Ses05M_script01_1b", "script01", "script01_1"),
        ("Ses03M_impro05a", "impro05", "impro05"),
        ("Ses03M_impro05", "impro05", "impro05"),
        ("train_dia7", "script01", "script01"),
        ("impro05_take3_x", "impro05", "impro05"),
        ("", "impro05", "impro05"),
        ("Ses01F_impro01", "", ""),
    ],
)
def test_the_part_of_a_scene_comes_from_the_name_of_the_dialog(dialog: str, scene: str, part: str) -> None:
    assert scene_part(Utterance(id="u", dialog=dialog, scene=scene)) == part


def turn(name: str, start: float | None, end: float | None, **columns: Any) -> Utterance:
    return Utterance(id=name, start=start, end=end, **{"dialog": "d1", "scene": "s", "label": "a", **columns})


def test_a_time_is_a_fraction_of_the_whole_dialog() -> None:
    labelled = [turn("a", 0.0, 4.0), turn("b", 5.0, 8.0), turn("c", 3.0, 5.0, dialog="d2")]
    last = [turn("z", 9.0, 10.0, label=""), turn("y", 2.0, 30.0, dialog="d2", label="")]
    assert positions_of(labelled).times.tolist() == [0.0, 5 / 8, 3 / 5]
    assert positions_of(labelled, [*labelled, *last]).times.tolist() == [0.0, 0.5, 0.1]
    no_start, no_dialog = turn("x", None, None), turn("w", 3.0, 4.0, dialog="")
    positions = positions_of([no_start, no_dialog])
    assert np.isnan(positions.times).all()
    assert not positions.has_times
    ends_unknown = [turn("a", 1.0, None), turn("b", 4.0, None)]
    assert positions_of(ends_unknown).times.tolist() == [0.25, 1.0]


def test_the_role_is_the_gender_or_the_order_in_which_speakers_begin() -> None:
    rows = [turn("a", 5.0, 6.0, speaker="Ann"), turn("b", 3.0, 4.0, speaker="Bob")]
    first = turn("c", 0.0, 1.0, speaker="Ann", label="")
    assert positions_of([replace(rows[0], gender="F"), replace(rows[1], gender="M")]).roles.tolist() == [0, 1]
    assert positions_of(rows).roles.tolist() == [1, 0]
    assert positions_of(rows, [*rows, first]).roles.tolist() == [0, 1]
    # The same speaker may have another role in another dialog.
    other = [replace(rows[0], id="d", dialog="d2"), replace(rows[1], id="e", dialog="d2", start=9.0)]
    assert positions_of([*rows, *other]).roles.tolist() == [1, 0, 0, 1]


def test_what_the_manifest_lacks_is_unknown() -> None:
    nothing = positions_of([Utterance(id="u")])
    assert (nothing.scenes.tolist(), nothing.parts.tolist()) == ([UNKNOWN], [UNKNOWN])
    assert (nothing.has_scenes, nothing.has_roles, nothing.has_times) == (False, False, False)
    scene_only = positions_of([Utterance(id="u", scene="s"), Utterance(id="v")])
    assert scene_only.has_scenes
    assert not scene_only.has_roles
    assert scene_only.scenes.tolist() == [0, UNKNOWN]
