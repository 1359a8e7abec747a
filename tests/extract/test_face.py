"""Face detection on a drawn face, following, cutting, and the encoders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1

from foal.extract.detect import Face, FaceDetector, Follower, cut_face
from foal.extract.face import load_face_path
from foal.extract.picture import Stretch, Video
from foal.extract.weights import find_face_weights
from foal.shared.errors import EncoderError
from foal.shared.settings import FaceSettings

CPU = torch.device("cpu")
HALF = (0.0, 0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def pictures(synthetic_corpus: Path) -> list[np.ndarray]:
    """Eight pictures of the marked actor of a drawn dialog."""
    video = Video(sorted(synthetic_corpus.glob("Session1/dialog/avi/DivX/*.avi"))[0])
    plan = video.plan(Stretch(start=0.5, end=2.1, fps=5))
    return [picture for _, _, picture in video.pictures([plan], [HALF])]


def detector(**changes: float) -> FaceDetector:
    return FaceDetector(**({"min_face": 0.1, "min_probability": 0.9, "device": CPU} | changes))  # type: ignore[arg-type]


def test_drawn_faces_are_found_one_by_one_as_together(pictures: list[np.ndarray]) -> None:
    together = detector().detect(pictures)
    assert all(len(faces) == 1 for faces in together)
    for picture, faces in zip(pictures, together, strict=True):
        (alone,) = detector().detect([picture])
        np.testing.assert_allclose(alone[0].box, faces[0].box, atol=0.01)


def test_pictures_without_a_face_and_mixed_ones(pictures: list[np.ndarray]) -> None:
    empty = np.full_like(pictures[0], 90)
    assert [len(faces) for faces in detector().detect([empty, pictures[0], empty])] == [0, 1, 0]
    assert detector().detect([empty]) == [[]]
    assert detector().detect([np.zeros((12, 200, 3), np.uint8)]) == [[]]
    two = np.concatenate([pictures[0], pictures[1]], axis=1)
    assert len(detector().detect([two])[0]) == 2


def face(x: float, size: float = 10) -> Face:
    return Face(box=np.array([x, 0, x + size, size], np.float32), probability=1.0)


def test_following_starts_with_the_largest_and_keeps_to_the_nearest() -> None:
    follower = Follower()
    assert follower.choose([]) is None
    big = face(50, 20)
    assert follower.choose([face(0), big]) is big
    near = face(60)
    assert follower.choose([face(0, 40), near]) is near
    assert follower.choose([]) is None
    assert follower.choose([face(64), face(10, 40)]).box[0] == 64  # type: ignore[union-attr]


def test_the_face_is_cut_square_with_a_margin_and_the_edge_repeats() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[40:60, 30:50] = 200
    cut = cut_face(picture, np.array([30, 40, 50, 60], np.float32), size=40, margin=0.0)
    assert cut.shape == (3, 40, 40)
    assert cut.min() == 200
    wide = cut_face(picture, np.array([30, 40, 50, 60], np.float32), size=40, margin=1.0)
    assert wide[0, 20, 20] == 200
    assert wide[0, 0, 0] == 0
    picture[:, :5] = 77
    edge = cut_face(picture, np.array([-20, 40, 0, 60], np.float32), size=10, margin=0.0)
    assert set(edge.flatten().tolist()) == {77.0}


@pytest.mark.parametrize("encoder", ["random:tiny", pytest.param("random:facenet", marks=pytest.mark.slow)])
def test_embeddings_do_not_depend_on_the_batch(pictures: list[np.ndarray], encoder: str) -> None:
    path = load_face_path(FaceSettings(encoder=encoder), find_face_weights(encoder, 3), CPU)
    values, valid = path.embed(pictures, Follower())
    assert values.shape == (len(pictures), path.encoder.width)
    assert valid.all()
    follower = Follower()
    singly = np.concatenate([path.embed([picture], follower)[0] for picture in pictures])
    assert np.linalg.norm(values - singly) <= 1e-5 * np.linalg.norm(values)


def test_a_picture_without_a_face_is_zero_and_invalid(pictures: list[np.ndarray]) -> None:
    path = load_face_path(FaceSettings(), find_face_weights("random:tiny", 3), CPU)
    values, valid = path.embed([pictures[0], np.zeros_like(pictures[0])], Follower())
    assert valid.tolist() == [True, False]
    assert np.abs(values[0]).max() > 0
    assert not values[1].any()


@pytest.mark.slow
def test_a_weight_file_is_loaded_strictly_and_without_its_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = InceptionResnetV1(pretrained=None, num_classes=8631, classify=True).eval()
    torch.save(network.state_dict(), tmp_path / "vggface2.pt")
    path = load_face_path(FaceSettings(), find_face_weights(str(tmp_path / "vggface2.pt"), 0), CPU)
    network.classify = False
    faces = torch.rand(2, 3, 160, 160) * 255
    with torch.inference_mode():
        wanted = network((faces - 127.5) / 128).numpy()
    np.testing.assert_allclose(path.encoder.encode(list(faces)), wanted, atol=1e-4)

    state = network.state_dict()
    del state["conv2d_1a.conv.weight"]
    torch.save(state, tmp_path / "half.pt")
    with pytest.raises(EncoderError, match="expected the weights of InceptionResnetV1"):
        load_face_path(FaceSettings(), find_face_weights(str(tmp_path / "half.pt"), 0), CPU)


def test_files_that_are_no_weights_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Opens(str(tmp_path / "opened"))))
    for name in ("text.pt", "evil.pt"):
        with pytest.raises(EncoderError, match="expected the weights"):
            load_face_path(FaceSettings(), find_face_weights(str(tmp_path / name), 0), CPU)
    assert not (tmp_path / "opened").exists()


class Opens:
    """Pickled, this opens a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("foal.extract.weights._FACENET_URL", "http://127.0.0.1:9")
    with pytest.raises(EncoderError, match=r"fetch .*vggface2.pt and put it at .*checkpoints"):
        find_face_weights("vggface2", 0)
    (tmp_path / "checkpoints" / "20180402-114759-vggface2.pt").write_bytes(b"x")
    assert find_face_weights("vggface2", 0).path == tmp_path / "checkpoints" / "20180402-114759-vggface2.pt"
    with pytest.raises(EncoderError, match="unknown face encoder 'nobody'"):
        find_face_weights("nobody", 0)
