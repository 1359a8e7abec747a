"""Selection of device and precision."""

import pytest
import torch

from foal.shared.errors import UsageError
from foal.shared.parallel.device import autocast_dtype, select_device

CPU = torch.device("cpu")
GPU = torch.device("cuda")


def test_devices_are_selected_by_name() -> None:
    assert select_device("cpu") == CPU
    assert select_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["quantum", "mps", "cuda:x"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"cluster.device: expected auto, cpu, cuda or cuda:N, got '{name}'"):
        select_device(name)


def test_a_missing_gpu_is_refused() -> None:
    with pytest.raises(UsageError, match=r"cluster.device is cuda:99, but PyTorch finds \d+ CUDA devices"):
        select_device("cuda:99")


def test_the_precision_selects_a_dtype() -> None:
    for device in (CPU, GPU):
        assert autocast_dtype("fp32", device) is None
        assert autocast_dtype("bf16", device) == torch.bfloat16
        assert autocast_dtype("fp16", device) == torch.float16
    assert autocast_dtype("auto", CPU) is None
