"""Copies to a device and back; on a CPU they are the values themselves. tests/test_gpu.py has the tests on a GPU."""

import numpy as np
import torch

from foal.extract.encoders.transfer import HostCopy, stack_on_device, to_device

CPU = torch.device("cpu")


def test_on_a_cpu_nothing_is_copied() -> None:
    tensor = torch.rand(3, 4)
    assert to_device(tensor, CPU) is tensor
    assert HostCopy(tensor).numpy().ctypes.data == tensor.data_ptr()


def test_arrays_are_stacked() -> None:
    arrays = [np.full((2, 3), number, np.uint8) for number in range(4)]
    stacked = stack_on_device(arrays, CPU)
    assert stacked.dtype == torch.uint8
    np.testing.assert_array_equal(stacked.numpy(), np.stack(arrays))
