"""Images resized on a device compared with Pillow, byte for byte, and with PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate

from foal.extract.face.batched import resampling
from foal.extract.face.batched.resampling import resize_to_squares

CPU = torch.device("cpu")
SIZES = st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=4)


def random_images(sizes: list[tuple[int, int]]) -> list[torch.Tensor]:
    chance = np.random.default_rng(3)
    return [torch.from_numpy(chance.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]


def by_pillow(image: torch.Tensor, size: int) -> torch.Tensor:
    resized = Image.fromarray(image.numpy()).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized, np.float32)).permute(2, 0, 1)


def by_pytorch(image: torch.Tensor, size: int) -> torch.Tensor:
    whole = image.permute(2, 0, 1)[None].float()
    return interpolate(whole, (size, size), mode="bilinear", antialias=True, align_corners=False)[0]


@given(sizes=SIZES, size=st.integers(1, 60))
def test_rounded_images_are_those_of_pillow(sizes: list[tuple[int, int]], size: int) -> None:
    images = random_images(sizes)
    resized = resize_to_squares(images, size, CPU, rounded=True)
    assert resized.dtype == torch.float32
    assert torch.equal(resized, torch.stack([by_pillow(image, size) for image in images]))


@given(sizes=SIZES, size=st.integers(1, 60))
def test_images_without_rounding_are_those_of_pytorch(sizes: list[tuple[int, int]], size: int) -> None:
    images = random_images(sizes)
    expected = torch.stack([by_pytorch(image, size) for image in images])
    torch.testing.assert_close(resize_to_squares(images, size, CPU, rounded=False), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("size", [(300, 217), (160, 160), (719, 31), (200, 180), (201, 180), (217, 300)])
def test_faces_of_usual_sizes(size: tuple[int, int]) -> None:
    (image,) = random_images([size])
    (resized,) = resize_to_squares([image], 160, CPU, rounded=True)
    assert torch.equal(resized, by_pillow(image, 160))


def test_images_that_take_too_much_memory_together_are_resized_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images([(20, 30), (5, 5), (5, 6), (40, 30), (3, 3)])
    expected = resize_to_squares(images, 8, CPU, rounded=True)
    for limit in (1, 24 * 600, 24 * 1200, 24 * 1800):
        monkeypatch.setattr(resampling, "MAX_BYTES", limit)
        assert torch.equal(resize_to_squares(images, 8, CPU, rounded=True), expected)
