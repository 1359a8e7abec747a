import torch

from foal.shared.config.train_settings import TrainSettings
from foal.train.fit.device import amp_dtype

CPU = torch.device("cpu")


def test_on_a_cpu_every_precision_is_float32() -> None:
    for precision in ("auto", "fp32", "bf16", "fp16"):
        assert amp_dtype(TrainSettings(precision=precision), CPU) is None  # type: ignore[arg-type]
