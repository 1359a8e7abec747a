"""The device and the precision of computations, for extraction and training."""

from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    import torch


def select_device(name: str) -> "torch.device":
    """The device that the setting cluster.device names.

    Args:
        name: `auto` (CUDA if available), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: it is none of these, or PyTorch does not see it.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UsageError(f"cluster.device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"cluster.device is {name}, but PyTorch finds {torch.cuda.device_count()} CUDA devices")
    return device


def autocast_dtype(precision: str, device: "torch.device") -> "torch.dtype | None":
    """The dtype of mixed precision; None for float32.

    Args:
        precision: fp32, tf32 (float32, multiplied with fewer bits), bf16, fp16, or `auto`: bf16 on GPUs that support
            it, else fp32.
        device: the device of the computation.
    """
    import torch

    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
    return {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
