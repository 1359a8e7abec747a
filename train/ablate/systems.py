"""The systems that an ablation compares: what the paper's Table 2 has, and what it is measured against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...shared.config.train_settings import REFERENCE, Protocol, TrainSettings

PLAIN = {"avel": False, "mem": False}


@dataclass(frozen=True, kw_only=True)
class System:
    """One row: what it is, the settings that make it, and for a late fusion the systems whose probabilities it adds.

    A protocol of its own only where the protocol is the fault.
    """

    key: str
    name: str
    what: str
    kind: Literal["majority", "regression", "network", "late"] = "network"
    modalities: Literal["both", "audio", "face"] = "both"
    changes: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    protocol: Protocol | None = None

    @property
    def seeded(self) -> bool:
        """Whether chance has a part in it."""
        return self.kind in ("network", "late")

    def settings(self, base: TrainSettings, protocol: Protocol) -> TrainSettings:
        """The run's settings with what makes this system; a regression knows only those that choose its features."""
        if self.kind == "regression":
            features = {name: getattr(base, name) for name in ("audio", "face", "frame_rate", "max_seconds", "stream")}
            base = TrainSettings(**features)
        changes = {"modalities": self.modalities, "protocol": self.protocol or protocol, **self.changes}
        return base.model_copy(update=changes)


BASELINE = "fusion"

SYSTEMS = (
    System(key="majority", name="majority class", what="the training group's most frequent class", kind="majority"),
    System(
        key="regression-audio",
        name="logistic regression, audio",
        what="on the mean of the audio frames",
        kind="regression",
        modalities="audio",
    ),
    System(
        key="regression-face",
        name="logistic regression, face",
        what="on the mean of the face frames",
        kind="regression",
        modalities="face",
    ),
    System(
        key="regression-both",
        name="logistic regression, both",
        what="on the means of audio and face frames",
        kind="regression",
    ),
    System(key="audio", name="A only", what="the network over audio alone", modalities="audio", changes=PLAIN),
    System(key="face", name="V only", what="the network over faces alone", modalities="face", changes=PLAIN),
    System(
        key="late",
        name="late fusion",
        what="mean of the probabilities of A only and V only",
        kind="late",
        parts=("audio", "face"),
    ),
    System(key=BASELINE, name="A+V fusion", what="cross-attention alone", changes=PLAIN),
    System(key="avel", name="+ AVEL", what="fusion and alignment", changes={"avel": True, "mem": False}),
    System(key="mem", name="+ MEM", what="fusion and matching", changes={"avel": False, "mem": True}),
    System(
        key="full",
        name="+ AVEL + MEM (Foal-Net)",
        what="fusion, alignment and matching",
        changes={"avel": True, "mem": True},
    ),
    System(
        key="reference",
        name="Foal-Net, compat reference",
        what="temperature, sum and pairs as the authors have them",
        changes={"avel": True, "mem": True, "compat": REFERENCE},
    ),
)

FULL = {"avel": True, "mem": True}
DEVIATIONS = (
    System(
        key="deviation-temperature",
        name="deviation: divided by ln(1/0.07)",
        what="similarities over 2.66, almost flat",
        changes={**FULL, "compat": ("temperature",)},
    ),
    System(
        key="deviation-sum",
        name="deviation: sum over positives",
        what="AVEL grows with the batch",
        changes={**FULL, "compat": ("sum",)},
    ),
    System(
        key="deviation-own-pairs",
        name="deviation: own pairs only",
        what="MEM may learn 'same clip'",
        changes={**FULL, "compat": ("own-pairs",)},
    ),
    System(
        key="deviation-same-class",
        name="deviation: same-class negatives",
        what="in batches of a single class",
        changes={**FULL, "compat": ("same-class",)},
    ),
    System(
        key="deviation-cut",
        name="deviation: cut at 6 s",
        what="what comes later is not seen",
        changes={**FULL, "max_seconds": 6.0},
    ),
    System(
        key="deviation-on-test",
        name="deviation: epoch chosen on the test group",
        what="as the authors do",
        changes=FULL,
        protocol="loso-reference",
    ),
)


def systems_for(modalities: Sequence[str], protocol: Protocol, *, deviations: bool) -> list[System]:
    """The systems that features of these modalities allow under a protocol."""
    wanted = [*SYSTEMS, *(DEVIATIONS if deviations else ())]
    if protocol != "loso-nested":
        wanted = [system for system in wanted if system.protocol is None]
    if len(modalities) == 2:
        return wanted
    alone = modalities[0]
    return [system for system in wanted if system.kind == "majority" or system.modalities == alone]
