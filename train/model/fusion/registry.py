"""The fusion heads over utterances by the names of `train.fusion`."""

from collections.abc import Callable, Mapping
from typing import Any

from ....shared.config.fusion_settings import fusion_options
from ....shared.errors import TrainingError
from ..architecture import Architecture
from .base import FusionHead
from .grids.jca import JcaFusion
from .grids.jmt import JmtFusion
from .grids.mfn import MfnFusion
from .sequences.cross_attention import CrossAttentionFusion
from .sequences.gban import GbanFusion
from .sequences.lmam import LmamFusion
from .sequences.mpt import MptFusion
from .sequences.fbp import FbpFusion
from .vectors.attention import AttentionFusion
from .sequences.aimdit import AimditFusion
from .sequences.cfn import CfnFusion
from .sequences.cross_attention import CrossAttentionFusion
from .sequences.mult import MultFusion
from .vectors.concat import ConcatFusion
from .vectors.lmf import LmfFusion
from .vectors.tfn import TfnFusion
from .vectors.misa import MisaFusion
from .vectors.mmim import MmimFusion
from .vectors.textgate import TextGateFusion

FUSION_HEADS: Mapping[str, Callable[[Architecture, Any], FusionHead]] = {
    "cross-attention": CrossAttentionFusion,
    "concat": ConcatFusion,
    "lmam": LmamFusion,
    "gban": GbanFusion,
    "mpt": MptFusion,
    "attention": AttentionFusion,
    "tfn": TfnFusion,
    "lmf": LmfFusion,
    "fbp": FbpFusion,
    "jmt": JmtFusion,
    "jca": JcaFusion,
    "mfn": MfnFusion,
    "misa": MisaFusion,
    "mmim": MmimFusion,
    "textgate": TextGateFusion,
    "mult": MultFusion,
    "cfn": CfnFusion,
    "aimdit": AimditFusion,
}
"""The class of each system; it is called with the architecture and the options of the system."""


def build_fusion(a: Architecture) -> FusionHead:
    """Build the head that the architecture names, with newly initialized weights.

    Raises:
        TrainingError: the attention heads of its options do not divide the width.
    """
    options = fusion_options(a.fusion, a.fusion_options)
    heads = getattr(options, "heads", 1)
    if a.width % heads:
        raise TrainingError(
            f"expected a width that {heads} heads of {a.fusion} divide, got {a.width}; change train.width or "
            "train.fusion_options.heads"
        )
    return FUSION_HEADS[a.fusion](a, options)
