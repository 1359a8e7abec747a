from typing import Any

from foal.train.compare.pooled_floor import pooled_floor


def scores(confusion: list[list[int]], **changes: Any) -> dict[str, Any]:
    return {"ua": 0.5, "wa": 0.75, "f1": 0.25, "n": sum(map(sum, confusion)), "confusion": confusion, **changes}


def floor(confusion: list[list[int]], covered: float = 1.0, **changes: Any) -> dict[str, Any]:
    levels = {"scenario": scores(confusion), "time": scores(confusion, **changes)}
    return {"levels": levels, "covered": covered, "context": True, "note": None, "bandwidths": [0.03]}


def test_floors_are_pooled_from_their_confusion_matrices() -> None:
    pooled = pooled_floor([floor([[3, 1], [0, 0]]), floor([[0, 0], [2, 2]], covered=0.0)])
    assert pooled is not None
    assert pooled["levels"]["time"] == {
        "ua": 0.625,
        "wa": 0.625,
        "f1": (6 / 9 + 4 / 7) / 2,
        "n": 8,
        "confusion": [[3, 1], [2, 2]],
    }
    assert pooled["covered"] == 0.5
    assert pooled_floor([floor([[3, 1], [0, 0]]), None]) is None
    assert pooled_floor([]) is None
