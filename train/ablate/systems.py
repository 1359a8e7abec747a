"""The systems of the ablation study: the rows of the paper's Table 2, baselines, deviations of the reference code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...shared.config.train_settings import REFERENCE, Protocol, TrainSettings

FUSION_ONLY = {"avel": False, "mem": False}
FULL = {"avel": True, "mem": True}
FEATURE_SETTINGS = ("audio", "face", "frame_rate", "max_seconds", "load")
"""Settings that define the features, as opposed to the network."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One row of the ablation table.

    Attributes:
        id: identifier in ablation.json.
        name: name in tables.
        description: explanation of the system.
        kind: majority class, logistic regression, network, or late fusion.
        modalities: modalities of the system.
        changes: settings of training that differ from those of the study.
        parts: for a late fusion, the ids of the systems whose probabilities are averaged.
        protocol: protocol, if it differs from that of the study.
    """

    id: str
    name: str
    description: str
    kind: Literal["majority", "regression", "network", "late"] = "network"
    modalities: Literal["both", "audio", "face"] = "both"
    changes: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    protocol: Protocol | None = None

    @property
    def is_random(self) -> bool:
        """Whether the result depends on the seed."""
        return self.kind in ("network", "late")

    @property
    def is_fitted(self) -> bool:
        """Whether the system has fits of its own."""
        return self.kind in ("network", "regression")

    def settings(self, base: TrainSettings, protocol: Protocol) -> TrainSettings:
        """The settings of the system's fits.

        Args:
            base: settings of the study. A regression depends only on those that define its features.
            protocol: protocol of the study.
        """
        if self.kind == "regression":
            base = TrainSettings(**{name: getattr(base, name) for name in FEATURE_SETTINGS})
        changes = {"modalities": self.modalities, "protocol": self.protocol or protocol, **self.changes}
        return base.model_copy(update=changes)


BASELINE = "fusion"

SYSTEMS = (
    System(
        id="majority", name="majority class", description="the training group's most frequent class", kind="majority"
    ),
    System(
        id="regression-audio",
        name="logistic regression, audio",
        description="on the mean of the audio frames",
        kind="regression",
        modalities="audio",
    ),
    System(
        id="regression-face",
        name="logistic regression, face",
        description="on the mean of the face frames",
        kind="regression",
        modalities="face",
    ),
    System(
        id="regression-both",
        name="logistic regression, both",
        description="on the means of audio and face frames",
        kind="regression",
    ),
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
        id="full",
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
