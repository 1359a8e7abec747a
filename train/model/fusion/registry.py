"""The fusion heads over utterances by the names of `train.fusion`."""

from collections.abc import Callable, Mapping
from typing import Any

from ....shared.config.fusion_settings import fusion_options
from ..architecture import Architecture
from .base import FusionHead
from .sequences.aimdit import AimditFusion
from .sequences.cfn import CfnFusion
from .sequences.cross_attention import CrossAttentionFusion
from .sequences.mult import MultFusion
from .vectors.concat import ConcatFusion

FUSION_HEADS: Mapping[str, Callable[[Architecture, Any], FusionHead]] = {
    "cross-attention": CrossAttentionFusion,
    "concat": ConcatFusion,
    "mult": MultFusion,
    "cfn": CfnFusion,
    "aimdit": AimditFusion,
}
"""The class of each system; it is called with the architecture and the options of the system."""


def build_fusion(a: Architecture) -> FusionHead:
    """Build the head that the architecture names, with newly initialized weights."""
    return FUSION_HEADS[a.fusion](a, fusion_options(a.fusion, a.fusion_options))
