"""The heads over dialogs by the names of `train.fusion`."""

from collections.abc import Callable, Mapping
from typing import Any

from ....shared.config.fusion_settings import fusion_options
from ..architecture import Architecture
from .encoder import TurnEncoder
from .gru import GruEncoder
from .hfgcn import HfgcnEncoder
from .lmam import LmamEncoder
from .m2fnet import M2fnetEncoder

TURN_ENCODERS: Mapping[str, Callable[[Architecture, Any], TurnEncoder]] = {
    "dialog-gru": GruEncoder,
    "m2fnet": M2fnetEncoder,
    "hfgcn": HfgcnEncoder,
    "lmam-dialog": LmamEncoder,
}
"""The class of each head; it is called with the architecture and the options of the head."""


def build_encoder(a: Architecture) -> TurnEncoder:
    """Build the encoder that the architecture names, with newly initialized weights."""
    return TURN_ENCODERS[a.fusion](a, fusion_options(a.fusion, a.fusion_options))
