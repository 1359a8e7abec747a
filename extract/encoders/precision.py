"""fp32, or autocast to a shorter format."""

from contextlib import AbstractContextManager, nullcontext

import torch

_FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Within it, matrix products and convolutions compute in `precision`; fp32 is what it is without."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, _FORMATS[precision])
