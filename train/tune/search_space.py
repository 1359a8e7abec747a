"""The search space of `foal tune`, and the settings that it proposes.

A proposal depends on the search space and a fixed seed, never on results. An adaptive sampler would learn from the
development group of each fold, which is the test group of another fold, and the search would not be nested.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import QMCSampler

from ...shared.config.train_settings import TrainSettings

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it reports every study and every trial

SEED = 0
"""Seed of the proposals."""
SIGNIFICANT_DIGITS = 3
"""Digits of proposed numbers, so that a setting can be copied from a table."""

Values = Mapping[str, Any]
"""Value of each searched key; the items of a list are joined with "+", since Optuna stores no lists."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One searched key of `train`.

    Attributes:
        key: the key.
        distribution: its values.
        needs: key that must be true for this one to have an effect (None: always).
        paired: whether it has an effect only with both modalities.
        fusion: the only fusion head that reads it (None: all).
        frames: whether it has an effect only on sequences of frames, which heads over dialogs do not read.
    """

    key: str
    distribution: BaseDistribution
    needs: str | None = None
    paired: bool = False
    fusion: str | None = None
    frames: bool = False


LOSS_WEIGHTS = CategoricalDistribution((0.0, 0.1, 0.3, 1.0))

PARAMETERS = (
    Parameter(key="learning_rate", distribution=FloatDistribution(1e-4, 3e-3, log=True)),
    Parameter(key="weight_decay", distribution=FloatDistribution(1e-3, 1.0, log=True)),
    Parameter(key="batch_size", distribution=CategoricalDistribution((None, 32, 128))),
    Parameter(key="width", distribution=CategoricalDistribution((32, 64, 128, 256))),
    Parameter(key="layers", distribution=CategoricalDistribution((0, 1, 2)), paired=True, fusion="cross-attention"),
    Parameter(key="input_dropout", distribution=FloatDistribution(0.0, 0.6)),
    Parameter(key="dropout", distribution=FloatDistribution(0.0, 0.5)),
    Parameter(
        key="pool", distribution=CategoricalDistribution(("mean", "mean+std", "mean+std+attention")), frames=True
    ),
    Parameter(key="skip", distribution=CategoricalDistribution((False, True))),
    Parameter(key="skip_hidden", distribution=CategoricalDistribution((0, 64))),
    Parameter(key="avel_weight", distribution=LOSS_WEIGHTS, needs="avel", paired=True),
    Parameter(key="mem_weight", distribution=LOSS_WEIGHTS, needs="mem", paired=True),
)
"""The searched keys; another line adds one."""


def search_space(settings: TrainSettings, *, paired: bool) -> dict[str, BaseDistribution]:
    """The distribution of each key that has an effect on a run.

    Args:
        settings: settings of the run.
        paired: whether the run has both modalities, and a head that aligns them.
    """
    space = {
        parameter.key: parameter.distribution
        for parameter in PARAMETERS
        if (paired or not parameter.paired)
        and not (parameter.frames and settings.over_dialogs)
        and parameter.fusion in (None, settings.fusion)
        and (parameter.needs is None or getattr(settings, parameter.needs))
    }
    width = space["width"]
    assert isinstance(width, CategoricalDistribution)
    if divisible := [value for value in width.choices if isinstance(value, int) and value % settings.heads == 0]:
        space["width"] = CategoricalDistribution(divisible)
    else:
        del space["width"]  # no number of attention heads that divides any of the widths
    return space


def propose(space: Mapping[str, BaseDistribution], count: int) -> list[Values]:
    """The first `count` proposals of a scrambled Sobol sequence; a larger count only adds some."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = QMCSampler(scramble=True, seed=SEED)
    study = optuna.create_study(sampler=sampler)
    proposals: list[Values] = []
    for _ in range(count):
        trial = study.ask(dict(space))
        proposals.append({key: _rounded(trial.params[key]) for key in space})
    return proposals


def values_of(settings: TrainSettings, space: Mapping[str, BaseDistribution]) -> Values:
    """The values of the searched keys in some settings."""
    values = {key: getattr(settings, key) for key in space}
    return {key: "+".join(value) if isinstance(value, tuple) else value for key, value in values.items()}


def with_values(settings: TrainSettings, values: Values) -> TrainSettings:
    """The settings with these values of the searched keys."""
    changes = {
        key: tuple(value.split("+")) if isinstance(getattr(settings, key), tuple) else value
        for key, value in values.items()
    }
    return TrainSettings.model_validate({**settings.model_dump(), **changes})


def is_within(value: Any, distribution: BaseDistribution) -> bool:
    """Whether a distribution contains a value."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution)
    return value is not None and distribution.low <= value <= distribution.high


def _rounded(value: Any) -> Any:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if isinstance(value, float) else value
