"""The cascade compared with facenet-pytorch's `detect_face`, bit for bit."""

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from foal.extract.face.batched.cascade import Cascade, cut_out, integral_image, pyramid_scales, resized

CPU = torch.device("cpu")


def reference(mtcnn: MTCNN, images: np.ndarray, min_face: int) -> list[np.ndarray]:
    mtcnn.min_face_size = min_face
    boxes, probabilities = mtcnn.detect(images)
    return [
        np.zeros((0, 5), np.float32) if some is None else np.column_stack([some, scores]).astype(np.float32)
        for some, scores in zip(boxes, probabilities, strict=True)
    ]


def random_images(count: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def area(images: torch.Tensor, sides: tuple[int, int]) -> torch.Tensor:
    return interpolate(images.permute(0, 3, 1, 2).float(), sides, mode="area")


@pytest.mark.parametrize("min_face", [20, 24, 80])
@pytest.mark.parametrize("count", [1, 3])
def test_faces_are_those_of_facenet_pytorch(images: list[np.ndarray], count: int, min_face: int) -> None:
    batch = np.stack(images[:count])
    expected = reference(MTCNN(keep_all=True), batch, min_face)
    found = Cascade(CPU).detect(torch.from_numpy(batch), min_face=min_face)
    assert [len(faces) for faces in expected] == [1] * count
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_several_faces_or_none_in_a_batch(images: list[np.ndarray]) -> None:
    blank = np.zeros_like(images[0])
    wide = np.stack([np.concatenate(pair, 1) for pair in ((images[0], images[3]), (blank, images[1]), (blank, blank))])
    expected = reference(MTCNN(keep_all=True), wide, 24)
    assert [len(faces) for faces in expected] == [2, 1, 0]
    for one, other in zip(Cascade(CPU).detect(torch.from_numpy(wide), min_face=24), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("height", [24, 25, 97])
def test_noise_and_small_images_have_no_face(height: int) -> None:
    noise = random_images(2, height, 120)
    expected = reference(MTCNN(keep_all=True), noise.numpy(), 24)
    for one, other in zip(Cascade(CPU).detect(noise, min_face=24), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [len(faces) for faces in Cascade(CPU).detect(torch.zeros(2, 10, 10, 3, dtype=torch.uint8), min_face=24)] == [
        0,
        0,
    ]


@given(height=st.integers(13, 90), width=st.integers(13, 90), rows=st.integers(2, 99), columns=st.integers(2, 99))
def test_images_are_resized_as_by_area_interpolation(height: int, width: int, rows: int, columns: int) -> None:
    images = random_images(2, height, width)
    assert torch.equal(resized(integral_image(images), (rows, columns)), area(images, (rows, columns)))


@given(data=st.data(), side=st.sampled_from([24, 48]))
def test_regions_are_cut_out_as_by_area_interpolation(data: st.DataObject, side: int) -> None:
    images = random_images(2, 70, 90)
    regions = []
    for _ in range(data.draw(st.integers(1, 4))):
        left, top = data.draw(st.integers(0, 89)), data.draw(st.integers(0, 69))
        regions.append([left, top, data.draw(st.integers(left + 1, 90)), data.draw(st.integers(top + 1, 70))])
    owners = torch.tensor([data.draw(st.integers(0, 1)) for _ in regions])
    cut = cut_out(integral_image(images), owners, torch.tensor(regions), side)
    for pixels, owner, (x0, y0, x1, y1) in zip(cut, owners.tolist(), regions, strict=True):
        assert torch.equal(pixels[None], area(images[owner : owner + 1, y0:y1, x0:x1], (side, side)))


def test_sums_of_large_images_do_not_overflow() -> None:
    assert integral_image(torch.zeros(1, 4096, 4096, 3, dtype=torch.uint8, device="meta")).dtype == torch.int64
    white = torch.full((1, 512, 512, 3), 255, dtype=torch.uint8)
    assert int(integral_image(white)[0, -1, -1, 0]) == 512 * 512 * 255


def test_scales_of_the_pyramid_end_where_the_image_is_smaller_than_a_face() -> None:
    assert pyramid_scales(19, 20) == []
    scales = pyramid_scales(480, 48)
    assert scales[0] == 0.25
    assert 480 * scales[-1] >= 12 > 480 * scales[-1] * 0.709
