from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from foal.shared.config.train_settings import TrainSettings
from foal.train.tune.search_space import PARAMETERS, is_within, propose, search_space, values_of, with_values

PAIRED = search_space(TrainSettings(), paired=True)


def ends_of(distribution: Any) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution)
    return [distribution.low, distribution.high]


@pytest.mark.parametrize("key", PAIRED)
def test_every_value_of_the_search_space_is_a_valid_setting(key: str) -> None:
    for value in ends_of(PAIRED[key]):
        settings = with_values(TrainSettings(), {key: value})
        assert values_of(settings, {key: PAIRED[key]}) == {key: value}
        assert settings == TrainSettings.model_validate(settings.model_dump())


def test_all_parameters_are_searched_with_both_modalities() -> None:
    assert list(PAIRED) == [parameter.key for parameter in PARAMETERS]
    assert len(set(PAIRED)) == len(PAIRED) == 12


@pytest.mark.parametrize(
    ("changes", "paired", "missing"),
    [
        ({}, False, {"layers", "avel_weight", "mem_weight"}),
        ({"avel": False}, True, {"avel_weight"}),
        ({"mem": False}, True, {"mem_weight"}),
        ({"heads": 3}, True, {"width"}),
        ({"fusion": "concat"}, True, {"layers"}),
    ],
)
def test_parameters_without_effect_are_not_searched(changes: dict[str, Any], paired: bool, missing: set[str]) -> None:
    space = search_space(TrainSettings(**changes), paired=paired)
    assert PAIRED.keys() - space.keys() == missing


def test_the_heads_divide_every_width() -> None:
    width = search_space(TrainSettings(heads=64), paired=True)["width"]
    assert ends_of(width) == [64, 128, 256]


def test_more_proposals_begin_with_the_same_ones() -> None:
    proposals = propose(PAIRED, 40)
    assert propose(PAIRED, 7) == proposals[:7]
    assert all(values.keys() == PAIRED.keys() for values in proposals)
    assert all(is_within(value, PAIRED[key]) for values in proposals for key, value in values.items())
    for key, distribution in PAIRED.items():
        if isinstance(distribution, CategoricalDistribution):
            assert {values[key] for values in proposals} == set(distribution.choices)
        else:
            assert len({values[key] for values in proposals}) > 30


def test_a_proposal_changes_only_the_searched_keys() -> None:
    base = TrainSettings(epochs=3, seeds=(4,), compat=("sum",), preset="paper")
    (values,) = propose(PAIRED, 1)
    changed = with_values(base, values)
    assert values_of(changed, PAIRED) == values
    assert changed.model_dump(exclude=set(PAIRED)) == base.model_dump(exclude=set(PAIRED))


def test_values_outside_a_distribution_are_recognized() -> None:
    assert not is_within(512, PAIRED["width"])
    assert not is_within(0.9, PAIRED["dropout"])
    assert not is_within(None, PAIRED["dropout"])
    assert is_within(0.0, PAIRED["dropout"])
