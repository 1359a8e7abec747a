import numpy as np

from foal.train.floor.positions import Positions
from foal.train.floor.vote import BANDWIDTHS, MAX_VOTERS, choose_bandwidth, vote

NAN = float("nan")


def positions(
    scenes: list[int], parts: list[int] | None = None, roles: list[int] | None = None, times: list[float] | None = None
) -> Positions:
    n = len(scenes)
    return Positions(
        scenes=np.array(scenes),
        parts=np.array(scenes if parts is None else parts),
        roles=np.array([0] * n if roles is None else roles),
        times=np.array([0.0] * n if times is None else times),
    )


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_turns_of_the_same_place_vote() -> None:
    where = positions([0, 0, 0, 0, 0], parts=[0, 0, 1, 0, 0], roles=[0, 1, 0, 0, 1])
    labels = np.array([1, 2, 0, 0, 0])
    train, test = rows(0, 1, 2), rows(3, 4)
    assert vote(where, labels, 3, train=train, test=test, level="role").tolist() == [[1, 2]]
    assert vote(where, labels, 3, train=rows(0, 1, 1, 2), test=test, level="scenario").tolist() == [[2, 2]]


def test_votes_are_weighted_by_the_difference_of_times() -> None:
    where = positions([0] * 7, times=[0.1, 0.5, 0.52, 0.9, 0.12, 0.49, 0.95])
    labels = np.array([1, 2, 2, 1, 0, 0, 1])
    train, test = rows(0, 1, 2, 3, 6), rows(4, 5)
    narrow, wide = vote(where, labels, 3, train=train, test=test, level="time", bandwidths=(0.01, 1e6))
    assert narrow.tolist() == [1, 2]
    assert wide.tolist() == [1, 1]
    weights = np.exp(-np.square(where.times[test, None] - where.times[train]) / (2 * 0.2**2))
    expected = np.stack([weights[:, labels[train] == c].sum(1) for c in range(3)], 1).argmax(1)
    assert vote(where, labels, 3, train=train, test=test, level="time", bandwidths=(0.2,))[0].tolist() == (
        expected.tolist()
    )


def test_a_distant_turn_has_a_vote_if_there_is_no_other() -> None:
    where = positions([0, 0, 1], times=[0.0, 1.0, 0.0])
    assert vote(where, np.array([1, 0, 0]), 2, train=rows(0, 2, 2), test=rows(1), level="time").tolist() == [[1]]


def test_a_turn_without_a_vote_gets_the_majority_of_its_scene_or_of_all() -> None:
    where = positions([0, 0, 1, 1, 1, 0, 2, -1], roles=[0, 0, 0, 0, 0, 1, 0, 0])
    labels = np.array([1, 1, 0, 0, 0, 2, 2, 2])
    for level in ("role", "time"):
        found = vote(where, labels, 3, train=rows(0, 1, 2, 3, 4), test=rows(5, 6, 7), level=level)  # type: ignore[arg-type]
        assert found.tolist() == [[1, 0, 0]]


def test_turns_without_a_time_count_all_votes_alike() -> None:
    where = positions([0, 0, 0, 0, 0], times=[0.1, NAN, 0.2, NAN, 0.11])
    labels = np.array([1, 0, 0, 2, 2])
    found = vote(where, labels, 3, train=rows(0, 1, 2), test=rows(3, 4), level="time", bandwidths=(0.005,))
    assert found.tolist() == [[0, 1]]  # a vote without a time has none where others have one


def test_the_bandwidth_follows_the_pace_of_the_labels() -> None:
    rng = np.random.default_rng(3)
    n = 1000
    times = rng.random(n)
    flips = rng.random(n) < 0.25
    chosen = []
    for period in (0.5, 0.04):
        labels = (times / period).astype(np.int64) % 2
        where = positions([0] * n, times=times.tolist())
        labels = np.where(flips, 1 - labels, labels)
        chosen.append(choose_bandwidth(where, labels, 2, train=np.arange(n), groups=np.arange(n) % 4))
    slow, fast = chosen
    assert {slow, fast} <= set(BANDWIDTHS)
    assert fast <= 0.01 < slow


def test_a_single_group_leaves_the_default_bandwidth() -> None:
    where = positions([0, 0])
    assert choose_bandwidth(where, np.array([0, 1]), 2, train=rows(0, 1), groups=rows(0, 0)) == 0.03


def test_of_many_turns_of_a_scene_evenly_spaced_ones_vote() -> None:
    rng = np.random.default_rng(0)
    n = 12_000
    times = rng.random(n)
    labels = (times * 4).astype(np.int64)
    where = positions([0] * n, times=times.tolist())
    train, test = np.arange(n - 2000), np.arange(n - 2000, n)
    found = vote(where, labels, 4, train=train, test=test, level="time", bandwidths=(0.01,))
    assert (found == labels[test]).mean() > 0.99
    voters = np.linspace(0, len(train) - 1, MAX_VOTERS).astype(np.int64)
    assert np.array_equal(vote(where, labels, 4, train=voters, test=test, level="time", bandwidths=(0.01,)), found)
