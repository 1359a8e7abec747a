"""The systems of the ablation study: the rows of the paper's Table 2, baselines, deviations of the reference code."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...shared.config.train_settings import REFERENCE, Protocol, TrainSettings
from ..data.fold_features import fold_settings
from ..data.protocol import CrossValidation
from ..data.streams import input_pairs
from ..fit.baselines import Baseline
from ..fit.task import FitTask
from ..report.formatting import listed

FUSION_ONLY = {"avel": False, "mem": False}
FULL = {"avel": True, "mem": True}
BASELINE_SETTINGS = ("target", "streams", "frame_rate", "max_seconds", "load", "normalize", "refit")
"""Settings that apply to baselines: targets, those of the features, and whether the chosen model is fitted again."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One row of the ablation table.

    Attributes:
        id: identifier in ablation.json.
        name: name in tables.
        description: explanation of the system.
        kind: majority class, script (floor), baseline, network, or late fusion.
        baseline: the estimator of a baseline, or of the two that a late fusion averages.
        inputs: inputs of the system (None: all of the study).
        changes: settings of training that differ from those of the study.
        parts: for a late fusion, the ids of the systems whose probabilities are averaged.
        protocol: protocol, if it differs from that of the study.
    """

    id: str
    name: str
    description: str
    kind: Literal["majority", "script", "baseline", "network", "late"] = "network"
    baseline: Baseline | None = None
    inputs: tuple[str, ...] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    protocol: Protocol | None = None

    @property
    def is_random(self) -> bool:
        """Whether the result depends on the seed."""
        return self.kind not in ("majority", "script") and (self.baseline is None or self.baseline.is_random)

    @property
    def is_fitted(self) -> bool:
        """Whether the system has fits of its own."""
        return self.kind in ("network", "baseline")

    def settings(self, base: TrainSettings, protocol: Protocol) -> TrainSettings:
        """The settings of the system's fits.

        Args:
            base: settings of the study. A baseline depends only on BASELINE_SETTINGS.
            protocol: protocol of the study.
        """
        if self.kind == "baseline":
            base = TrainSettings().model_copy(update={name: getattr(base, name) for name in BASELINE_SETTINGS})
        changes = {"protocol": self.protocol or protocol, **self.changes}
        return base.model_copy(update=changes)


BASELINE = "fusion"
"""The system that the others are compared with: plain fusion."""
PROPOSED = "full"
"""Foal-Net."""

BASELINES: tuple[tuple[str, str, str, Baseline], ...] = (
    ("regression", "logistic regression", "on means of the frames", Baseline()),
    ("regression-std", "logistic regression, mean + std", "on means and deviations", Baseline(parts=("mean", "std"))),
    ("linear-svm", "linear SVM", "on means and deviations", Baseline(estimator="linear-svm", parts=("mean", "std"))),
    ("rbf-svm", "RBF SVM", "on means and deviations", Baseline(estimator="rbf-svm", parts=("mean", "std"))),
    ("mlp", "MLP", "two hidden layers, on means and deviations", Baseline(estimator="mlp", parts=("mean", "std"))),
)
"""Identifier, name, description and estimator of each baseline."""


LETTERS = {"audio": "A", "face": "V", "text": "T"}
"""Abbreviations in names of systems, as in the paper."""


def _baseline_systems(inputs: Sequence[str], id_: str, name: str, text: str, baseline: Baseline) -> list[System]:
    """A baseline on each input, on all of them (early fusion), and the average of the first ones (late fusion)."""
    single = [
        System(
            id=f"{id_}-{key}",
            name=f"{name}, {key}",
            description=f"{text} of {key}",
            kind="baseline",
            baseline=baseline,
            inputs=(key,),
        )
        for key in inputs
    ]
    if len(inputs) == 1:
        return single
    all_ = "both" if len(inputs) == 2 else "all"
    early = System(id=f"{id_}-{all_}", name=f"{name}, {all_}", description=text, kind="baseline", baseline=baseline)
    late = System(
        id=f"{id_}-late",
        name=f"{name}, late fusion",
        description=f"mean of the probabilities of {listed(inputs)}",
        kind="late",
        baseline=baseline,
        parts=tuple(system.id for system in single),
    )
    return [*single, early, late]


def baseline_systems(inputs: Sequence[str], ids: Collection[str]) -> list[System]:
    """The systems of some baselines over these inputs, in the order of BASELINES."""
    return [system for row in BASELINES if row[0] in ids for system in _baseline_systems(inputs, *row)]


def single_networks(inputs: Sequence[str]) -> list[System]:
    """The network over each input alone."""
    described = {"face": "faces"}
    return [
        System(
            id=key,
            name=f"{LETTERS.get(key, key)} only",
            description=f"the network over {described.get(key, key)} alone",
            inputs=(key,),
            changes=FUSION_ONLY,
        )
        for key in inputs
    ]


def _pair_networks(inputs: Sequence[str]) -> list[System]:
    """Foal-Net over each pair of three or more inputs."""
    return [
        System(
            id=f"full-{'+'.join(pair)}",
            name=f"Foal-Net, {_letters(pair)}",
            description=f"fusion, alignment and matching of {listed(pair)}",
            inputs=pair,
            changes=FULL,
        )
        for pair in (input_pairs(inputs) if len(inputs) > 2 else [])
    ]


def _letters(inputs: Sequence[str]) -> str:
    return "+".join(LETTERS.get(key, key) for key in inputs)


def _fusion_networks(inputs: Sequence[str]) -> list[System]:
    single = single_networks(inputs)
    names = [system.name for system in single]
    return [
        *single,
        System(
            id="late",
            name="late fusion",
            description=f"mean of the probabilities of {listed(names)}",
            kind="late",
            parts=tuple(system.id for system in single),
        ),
        *_pair_networks(inputs),
        System(
            id=BASELINE,
            name=f"{_letters(inputs)} fusion",
            description="cross-attention alone",
            changes=FUSION_ONLY,
        ),
        System(id="avel", name="+ AVEL", description="fusion and alignment", changes={"avel": True, "mem": False}),
        System(id="mem", name="+ MEM", description="fusion and matching", changes={"avel": False, "mem": True}),
        System(
            id=PROPOSED,
            name="+ AVEL + MEM (Foal-Net)",
            description="fusion, alignment and matching",
            changes=FULL,
        ),
        System(
            id="reference",
            name="Foal-Net, compat reference",
            description="temperature, sum and pairs as in the reference code",
            changes={**FULL, "compat": REFERENCE},
        ),
    ]


DEVIATIONS = (
    System(
        id="deviation-temperature",
        name="deviation: divided by ln(1/0.07)",
        description="similarities divided by 2.66, an almost uniform softmax",
        changes={**FULL, "compat": ("temperature",)},
    ),
    System(
        id="deviation-sum",
        name="deviation: sum over positives",
        description="AVEL grows with the batch size",
        changes={**FULL, "compat": ("sum",)},
    ),
    System(
        id="deviation-own-pairs",
        name="deviation: own pairs only",
        description="MEM may learn to recognize the same clip",
        changes={**FULL, "compat": ("own-pairs",)},
    ),
    System(
        id="deviation-same-class",
        name="deviation: same-class negatives",
        description="MEM's negatives in batches of a single class",
        changes={**FULL, "compat": ("same-class",)},
    ),
    System(
        id="deviation-cut",
        name="deviation: cut at 6 s",
        description="later frames are ignored",
        changes={**FULL, "max_seconds": 6.0},
    ),
    System(
        id="deviation-on-test",
        name="deviation: epoch chosen on the test group",
        description="as in the reference code; scores are optimistically biased",
        changes=FULL,
        protocol="loso-reference",
    ),
)


def systems_for(inputs: Sequence[str], protocol: Protocol, *, deviations: bool) -> list[System]:
    """The systems that are possible with features of these inputs and under a protocol.

    Args:
        inputs: inputs of the study.
        protocol: protocol of the study.
        deviations: include the deviations of the reference code.
    """
    systems = [
        System(
            id="majority",
            name="majority class",
            description="the training group's most frequent class",
            kind="majority",
        ),
        *baseline_systems(inputs, [row[0] for row in BASELINES]),
        *(_fusion_networks(inputs) if len(inputs) > 1 else single_networks(inputs)),
        *(DEVIATIONS if deviations and len(inputs) > 1 else ()),
    ]
    return [system for system in systems if system.protocol is None or protocol == "loso-nested"]


def fit_tasks(
    systems: Sequence[System], settings: TrainSettings, folds: CrossValidation, seeds: Sequence[int], folder: Path
) -> dict[str, list[FitTask]]:
    """The fits of every system that has some, by its id: each seed and fold; a deterministic system has one seed.

    Args:
        systems: the systems.
        settings: settings of the study.
        folds: folds of the study; a system with a protocol of its own has as many.
        seeds: seeds of the study.
        folder: folder of the results.
    """
    return {
        system.id: [
            FitTask(
                baseline=system.baseline,
                inputs=system.inputs,
                settings=system.settings(fold_settings(settings, fold.number, fold.test), folds.protocol),
                seed=seed,
                fold=fold.number,
                folder=folder,
            )
            for seed in (seeds if system.is_random else [0])
            for fold in folds.folds
        ]
        for system in systems
        if system.is_fitted
    }
