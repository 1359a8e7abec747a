"""The fusion heads over utterances by the names of `train.fusion`."""

from collections.abc import Callable, Mapping
from typing import Any

from ....shared.config.fusion_settings import fusion_options
from ..architecture import Architecture
from .base import FusionHead
from .sequences.cross_attention import CrossAttentionFusion
from .vectors.concat import ConcatFusion
from .vectors.misa import MisaFusion
from .vectors.mmim import MmimFusion
from .vectors.textgate import TextGateFusion

FUSION_HEADS: Mapping[str, Callable[[Architecture, Any], FusionHead]] = {
    "cross-attention": CrossAttentionFusion,
    "concat": ConcatFusion,
    "misa": MisaFusion,
    "mmim": MmimFusion,
    "textgate": TextGateFusion,
}
"""The class of each system; it is called with the architecture and the options of the system."""


def build_fusion(a: Architecture) -> FusionHead:
    """Build the head that the architecture names, with newly initialized weights."""
    return FUSION_HEADS[a.fusion](a, fusion_options(a.fusion, a.fusion_options))
