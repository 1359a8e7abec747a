"""The systems of the ablation study: the rows of the paper's Table 2, baselines, deviations of the reference code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...shared.config.train_settings import REFERENCE, Protocol, TrainSettings
from ..fit.baselines import Baseline

FUSION_ONLY = {"avel": False, "mem": False}
FULL = {"avel": True, "mem": True}
BASELINE_SETTINGS = ("audio", "face", "frame_rate", "max_seconds", "load", "normalize", "refit")
"""Settings that apply to baselines: those of the features, and whether the chosen model is fitted again."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One row of the ablation table.

    Attributes:
        id: identifier in ablation.json.
        name: name in tables.
        description: explanation of the system.
        kind: majority class, script (floor), baseline, network, or late fusion.
        baseline: the estimator of a baseline, or of the two that a late fusion averages.
        modalities: modalities of the system.
        changes: settings of training that differ from those of the study.
        parts: for a late fusion, the ids of the systems whose probabilities are averaged.
        protocol: protocol, if it differs from that of the study.
    """

    id: str
    name: str
    description: str
    kind: Literal["majority", "script", "baseline", "network", "late"] = "network"
    baseline: Baseline | None = None
    modalities: Literal["both", "audio", "face"] = "both"
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
            base = TrainSettings(**{name: getattr(base, name) for name in BASELINE_SETTINGS})
        changes = {"modalities": self.modalities, "protocol": self.protocol or protocol, **self.changes}
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


SINGLE_MODALITIES: tuple[Literal["audio", "face"], ...] = ("audio", "face")


def _baseline_systems(id_: str, name: str, description: str, baseline: Baseline) -> tuple[System, ...]:
    """A baseline on audio, on face, on both (early fusion), and the average of the first two (late fusion)."""
    single = [
        System(
            id=f"{id_}-{modality}",
            name=f"{name}, {modality}",
            description=f"{description} of {modality}",
            kind="baseline",
            baseline=baseline,
            modalities=modality,
        )
        for modality in SINGLE_MODALITIES
    ]
    both = System(id=f"{id_}-both", name=f"{name}, both", description=description, kind="baseline", baseline=baseline)
    late = System(
        id=f"{id_}-late",
        name=f"{name}, late fusion",
        description="mean of the probabilities of audio and face",
        kind="late",
        baseline=baseline,
        parts=(single[0].id, single[1].id),
    )
    return (*single, both, late)


SYSTEMS = (
    System(
        id="majority", name="majority class", description="the training group's most frequent class", kind="majority"
    ),
    *(system for spec in BASELINES for system in _baseline_systems(*spec)),
    System(
        id="audio", name="A only", description="the network over audio alone", modalities="audio", changes=FUSION_ONLY
    ),
    System(
        id="face", name="V only", description="the network over faces alone", modalities="face", changes=FUSION_ONLY
    ),
    System(
        id="late",
        name="late fusion",
        description="mean of the probabilities of A only and V only",
        kind="late",
        parts=("audio", "face"),
    ),
    System(id=BASELINE, name="A+V fusion", description="cross-attention alone", changes=FUSION_ONLY),
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
)

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


def systems_for(modalities: Sequence[str], protocol: Protocol, *, deviations: bool) -> list[System]:
    """The systems that are possible with features of these modalities and under a protocol.

    Args:
        modalities: modalities of the features.
        protocol: protocol of the study.
        deviations: include the deviations of the reference code.
    """
    systems = [*SYSTEMS, *(DEVIATIONS if deviations else ())]
    if protocol != "loso-nested":
        systems = [system for system in systems if system.protocol is None]
    if len(modalities) == 2:
        return systems
    (modality,) = modalities
    return [system for system in systems if system.kind == "majority" or system.modalities == modality]
