"""Loading InceptionResnetV1 strictly and without unpickling."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1

from foal.extract.encoders.weights import find_face_weights
from foal.extract.face.batching import FaceExtractor
from foal.extract.face.facenet import build_face_extractor
from foal.extract.face.tracker import Track
from foal.shared.config.settings import FaceSettings
from foal.shared.errors import EncoderError

CPU = torch.device("cpu")

Build = Callable[..., FaceExtractor]

RunBatches = Callable[..., list[Track]]


class OpensFile:
    """Unpickling an instance opens a file for writing."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.slow
def test_a_weight_file_is_loaded_strictly_without_its_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = InceptionResnetV1(pretrained=None, num_classes=8631, classify=True).eval()
    torch.save(network.state_dict(), tmp_path / "vggface2.pt")
    extractor = build_face_extractor(FaceSettings(), find_face_weights(str(tmp_path / "vggface2.pt"), "main", 0), CPU)
    network.classify = False
    faces = torch.rand(2, 3, 160, 160) * 255
    with torch.inference_mode():
        expected = network((faces - 127.5) / 128).numpy()
    np.testing.assert_allclose(extractor.encoder.encode(list(faces)), expected, atol=1e-4)

    state = network.state_dict()
    del state["conv2d_1a.conv.weight"]
    torch.save(state, tmp_path / "half.pt")
    with pytest.raises(EncoderError, match="expected the weights of InceptionResnetV1"):
        build_face_extractor(FaceSettings(), find_face_weights(str(tmp_path / "half.pt"), "main", 0), CPU)


def test_other_files_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(OpensFile(str(tmp_path / "opened"))))
    for name in ("text.pt", "evil.pt"):
        with pytest.raises(EncoderError, match="expected the weights"):
            build_face_extractor(FaceSettings(), find_face_weights(str(tmp_path / name), "main", 0), CPU)
    assert not (tmp_path / "opened").exists()
