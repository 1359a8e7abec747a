"""The fusion heads over utterances by the names of `train.fusion`."""

from collections.abc import Callable, Mapping
from typing import Any

from ....shared.config.fusion_settings import fusion_options
from ..architecture import Architecture
from .base import FusionHead
from .grids.jca import JcaFusion
from .grids.jmt import JmtFusion
from .grids.mfn import MfnFusion
from .sequences.aimdit import AimditFusion
from .sequences.cfn import CfnFusion
from .sequences.cross_attention import CrossAttentionFusion
from .sequences.fbp import FbpFusion
from .sequences.gban import GbanFusion
from .sequences.lmam import LmamFusion
from .sequences.mpt import MptFusion
from .sequences.mult import MultFusion
from .vectors.attention import AttentionFusion
from .vectors.concat import ConcatFusion
from .vectors.lmf import LmfFusion
from .vectors.misa import MisaFusion
from .vectors.mmim import MmimFusion
from .vectors.textgate import TextGateFusion
from .vectors.tfn import TfnFusion

FUSION_HEADS: Mapping[str, Callable[[Architecture, Any], FusionHead]] = {
    "cross-attention": CrossAttentionFusion,
    "concat": ConcatFusion,
    "attention": AttentionFusion,
    "tfn": TfnFusion,
    "lmf": LmfFusion,
    "fbp": FbpFusion,
    "misa": MisaFusion,
    "mmim": MmimFusion,
    "textgate": TextGateFusion,
    "lmam": LmamFusion,
    "gban": GbanFusion,
    "mult": MultFusion,
    "mpt": MptFusion,
    "cfn": CfnFusion,
    "aimdit": AimditFusion,
    "jmt": JmtFusion,
    "jca": JcaFusion,
    "mfn": MfnFusion,
}
"""The class of each system; it is called with the architecture and the options of the system."""


def build_fusion(a: Architecture) -> FusionHead:
    """Build the head that the architecture names, with newly initialized weights. Raises TrainingError by its sizes."""
    return FUSION_HEADS[a.fusion](a, fusion_options(a.fusion, a.fusion_options))
