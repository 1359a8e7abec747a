"""Running networks: batches split when the device runs out of memory, and precision."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers.utils.logging import get_verbosity

from foal.extract.encoders.inference import autocast, quiet_transformers, split_on_oom
from foal.shared.errors import MediaError


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_a_batch_is_split_until_it_fits_and_keeps_its_order(limit: int) -> None:
    sizes: list[int] = []

    def run(batch: Sequence[int]) -> list[int]:
        sizes.append(len(batch))
        if len(batch) > limit:
            raise torch.OutOfMemoryError
        return [2 * item for item in batch]

    assert split_on_oom(run, range(7), remedy="") == [0, 2, 4, 6, 8, 10, 12]
    assert sizes[0] == 7
    assert sum(size for size in sizes if size <= limit) == 7


def test_an_item_that_never_fits_is_an_error_with_a_remedy() -> None:
    def run(batch: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError

    with pytest.raises(MediaError, match=r"out of memory on the device, even for a single item; lower extract\.x"):
        split_on_oom(run, [1, 2, 3], remedy="lower extract.x")


def test_other_errors_are_not_caught() -> None:
    def run(batch: Sequence[int]) -> list[int]:
        raise RuntimeError("mat1 and mat2")

    with pytest.raises(RuntimeError, match="mat1"):
        split_on_oom(run, [1, 2], remedy="")


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_matrix_products_have_the_chosen_precision(precision: str, dtype: torch.dtype) -> None:
    with autocast(torch.device("cpu"), precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_the_verbosity_of_transformers_is_restored() -> None:
    before = get_verbosity()
    with quiet_transformers():
        assert get_verbosity() == logging.ERROR
    assert get_verbosity() == before


@pytest.mark.parametrize(("precision", "expected"), [("fp32", "ieee"), ("tf32", "tf32")])
def test_a_gpu_multiplies_float32_in_full_unless_tf32_is_chosen(precision: str, expected: str) -> None:
    cudnn: Any = torch.backends.cudnn
    kinds = torch.backends.cuda.matmul, cudnn.conv
    before = [kind.fp32_precision for kind in kinds]
    with autocast(torch.device("cuda"), precision):
        assert [kind.fp32_precision for kind in kinds] == [expected] * 2
    assert [kind.fp32_precision for kind in kinds] == before
