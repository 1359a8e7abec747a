from typing import Any

from foal.train.report.floor import floor_lines, mem_lines


def scores(confusion: list[list[int]], **changes: Any) -> dict[str, Any]:
    return {"ua": 0.5, "wa": 0.75, "f1": 0.25, "n": sum(map(sum, confusion)), "confusion": confusion, **changes}


def floor(confusion: list[list[int]], covered: float = 1.0, **changes: Any) -> dict[str, Any]:
    levels = {"scenario": scores(confusion), "time": scores(confusion, **changes)}
    return {"levels": levels, "covered": covered, "context": True, "note": None, "bandwidths": [0.03]}


def test_the_line_has_the_last_level_and_the_kinds_of_scenes() -> None:
    values = floor([[3, 1], [1, 3]], scripted={"wa": 0.125}, improvised={"wa": 0.875})
    assert floor_lines({"script_floor": values}) == [
        "script floor (scene + role + time of training utterances, no media): UA 50.0, WA 75.0, F1 25.0 (scripted WA "
        "12.5, improvised WA 87.5)"
    ]
    without = floor([[3, 1], [1, 3]], covered=0.0)
    assert floor_lines({"script_floor": without})[0].endswith("(no scene of a test group is in its training set)")


def test_a_floor_that_is_unknown_is_explained_and_one_that_does_not_exist_left_out() -> None:
    assert floor_lines({"script_floor": {"levels": {}, "note": "unknown, because"}}) == [
        "script floor: unknown, because"
    ]
    assert floor_lines({"script_floor": None, "label_inertia": None}) == floor_lines({}) == []


def test_inertia_is_called_what_it_is() -> None:
    assert floor_lines({"label_inertia": {"agreement": 0.906, "pairs": 3913}}) == [
        "label inertia (diagnostic, reads labels): a speaker's label is that of the previous turn in 90.6% of 3913 "
        "pairs"
    ]


def test_the_loss_of_mem_is_compared_with_chance() -> None:
    assert mem_lines({}) == []
    (line,) = mem_lines({"mem_training": {"loss": 0.64, "chance": 0.6365}})
    assert "training loss 0.640; a head that ignores its inputs has 0.636 (chance)" in line
    assert line.endswith("it has not learned to match")
    (line,) = mem_lines({"mem_training": {"loss": 0.2, "chance": 0.6365}})
    assert line.endswith("it learned to match")
