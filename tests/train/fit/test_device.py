import pytest
import torch

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import TrainingError
from foal.train.fit.device import amp_dtype, select_device

CPU = torch.device("cpu")


def test_a_cpu_computes_in_float32() -> None:
    for precision in ("auto", "fp32", "bf16", "fp16"):
        assert amp_dtype(TrainSettings(precision=precision), CPU) is None  # type: ignore[arg-type]


def test_missing_devices_are_errors() -> None:
    assert select_device("cpu") == CPU
    for name in ("quantum", "mps", "cuda:x"):
        with pytest.raises(TrainingError, match=f"cluster.device: expected auto, cpu, cuda or cuda:N, got '{name}'"):
            select_device(name)
    with pytest.raises(TrainingError, match=r"cluster.device is cuda:99, but PyTorch sees \d+ CUDA devices"):
        select_device("cuda:99")
