"""The default shape and margin of a face crop, by encoder."""

from pathlib import Path

import pytest

from foal.extract.encoders.weights import Weights
from foal.extract.face.config import FaceCrop, face_crop
from foal.shared.config.settings import FaceSettings

STRETCHED = FaceCrop(shape="stretched", margin=0.0)
SQUARE = FaceCrop(shape="square", margin=0.2)


def weights(name: str, path: Path | None = None) -> Weights:
    return Weights(name=name, revision="local", digest="0", path=path)


def test_faces_are_stretched_for_inception_resnet_alone(tmp_path: Path) -> None:
    (tmp_path / "vggface2.pt").write_bytes(b"weights")
    assert face_crop(FaceSettings(), weights("vggface2", tmp_path / "vggface2.pt")) == STRETCHED
    assert face_crop(FaceSettings(), weights("random:facenet")) == STRETCHED
    # A folder is a vision model, whatever its name.
    assert face_crop(FaceSettings(), weights("vggface2", tmp_path)) == SQUARE
    assert face_crop(FaceSettings(), weights("random:tiny")) == SQUARE


@pytest.mark.parametrize("name", ["random:facenet", "random:tiny"])
def test_shape_and_margin_of_the_settings_replace_the_defaults(name: str) -> None:
    assert face_crop(FaceSettings(crop_shape="square"), weights(name)) == SQUARE
    assert face_crop(FaceSettings(crop_shape="stretched"), weights(name)) == STRETCHED
    assert face_crop(FaceSettings(crop_shape="stretched", margin=0.1), weights(name)).margin == 0.1
    assert face_crop(FaceSettings(margin=0.0), weights("random:tiny")).margin == 0.0
