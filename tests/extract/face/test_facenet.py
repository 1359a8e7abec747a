"""Face detection on a drawn face, following, cutting, and the encoders."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1

from foal.extract.encoders.weights import find_face_weights
from foal.extract.face.batching import FaceBatches, FaceExtractor
from foal.extract.face.detector import DetectedFace, FaceDetector, cut_face, overlap
from foal.extract.face.facenet import build_face_extractor
from foal.extract.face.tracker import Follower, FrameSample, Track
from foal.extract.media.video import Segment, open_video
from foal.shared.config.settings import FaceSettings
from foal.shared.errors import EncoderError

CPU = torch.device("cpu")
HALF = (0.0, 0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def pictures(synthetic_corpus: Path) -> list[np.ndarray]:
    """Eight pictures of the marked actor of a drawn dialog."""
    video = open_video(sorted(synthetic_corpus.glob("Session1/dialog/avi/DivX/*.avi"))[0])
    plan = video.plan(Segment(start=0.5, end=2.1, fps=5))
    return [picture for _, _, picture in video.crops([plan], [HALF])]


def detector(**changes: float) -> FaceDetector:
    return FaceDetector(**({"min_face_fraction": 0.1, "min_probability": 0.9, "device": CPU} | changes))  # type: ignore[arg-type]


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


def face(x: float, size: float = 10) -> DetectedFace:
    return DetectedFace(box=np.array([x, 0, x + size, size], np.float32), probability=1.0)


def test_following_starts_with_the_largest_and_keeps_to_the_nearest() -> None:
    follower = Follower()
    assert follower.select([]) is None
    big = face(50, 20)
    assert follower.select([face(0), big]) is big
    near = face(60)
    assert follower.select([face(0, 40), near]) is near
    assert follower.select([]) is None
    assert follower.select([face(64), face(10, 40)]).box[0] == 64  # type: ignore[union-attr]


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


def path(encoder: str = "random:tiny", *, batch: int = 16, **settings: object) -> FaceExtractor:
    chosen = FaceSettings(encoder=encoder, **settings)  # type: ignore[arg-type]
    return build_face_extractor(chosen, find_face_weights(encoder, "main", 3), CPU, batch=batch)


def through(face_path: FaceExtractor, *utterances: list[np.ndarray]) -> list[Track]:
    """The pictures of some utterances of one video, which come out of it side by side."""
    batches = FaceBatches(face_path)
    tracks = [Track.empty(len(pictures), face_path.encoder.width) for pictures in utterances]
    for position in range(max(map(len, utterances))):
        for track, pictures in zip(tracks, utterances, strict=True):
            if position < len(pictures):
                batches.push(track, FrameSample(position=position, picture=pictures[position]))
    for track in tracks:
        batches.end(track)
    batches.finish()
    assert all(track.finished for track in tracks)
    return tracks


@pytest.mark.parametrize("encoder", ["random:tiny", pytest.param("random:facenet", marks=pytest.mark.slow)])
@pytest.mark.parametrize("every", [1, 3])
def test_embeddings_do_not_depend_on_the_batch(pictures: list[np.ndarray], encoder: str, every: int) -> None:
    usual = path(encoder, detect_stride=every)
    (together,) = through(usual, pictures)
    (singly,) = through(path(encoder, detect_stride=every, batch=1), pictures)
    others = through(replace(usual, batch=5), pictures[:3], pictures, pictures[::-1])
    assert together.values.shape == (len(pictures), usual.encoder.width)
    assert together.valid.all()
    for other in (singly, others[1]):
        assert other.valid.all()
        np.testing.assert_allclose(other.boxes, together.boxes, atol=1e-4)
        assert np.linalg.norm(together.values - other.values) <= 1e-4 * np.linalg.norm(together.values)
    # With one batch size they do not change at all, whoever is in the chunk.
    among = through(usual, pictures[:3], pictures, pictures[::-1])[1]
    assert np.array_equal(among.values, together.values)
    assert np.array_equal(among.boxes, together.boxes)


def test_a_picture_without_a_face_is_zero_and_invalid(pictures: list[np.ndarray]) -> None:
    empty = np.zeros_like(pictures[0])
    for every in (1, 3):
        (track,) = through(path(detect_stride=every), [*pictures[:2], empty, empty, empty, pictures[2]])
        assert track.valid.tolist() == [True, True, False, False, False, True]
        assert np.abs(track.values[0]).max() > 0
        assert not track.values[2].any()
        assert np.isnan(track.boxes[2]).all()
        assert len(track.probabilities) == 3
        assert track.note() == ""
    (nobody,) = through(path(), [empty] * 4)
    assert nobody.note() == "no face found"


class Counting(FaceDetector):
    """Counts the pictures it is shown."""

    shown = 0

    def detect(self, pictures: Sequence[np.ndarray]) -> list[list[DetectedFace]]:
        self.shown += len(pictures)
        return super().detect(pictures)


def test_between_two_near_detections_nothing_is_detected(pictures: list[np.ndarray]) -> None:
    still = [pictures[0], *pictures] * 2
    chosen = path(detect_stride=4)
    counting = Counting(min_face_fraction=0.1, min_probability=0.9, device=CPU)
    (followed,) = through(replace(chosen, detector=counting), still)
    assert counting.shown == 1 + 5
    (detected,) = through(path(detect_stride=1), still)
    assert followed.valid.all()
    scale = np.tile(np.array(still[0].shape[1::-1]), 2)
    shared = [overlap(a, b) for a, b in zip(followed.boxes * scale, detected.boxes * scale, strict=True)]
    assert np.median(shared) > 0.9
    assert min(shared) > 0.7
    assert len(followed.probabilities) == 6


def test_a_jump_between_two_detections_is_detected_frame_by_frame(pictures: list[np.ndarray]) -> None:
    face, rest = pictures[0], np.full_like(pictures[0], 90)
    left, right = np.concatenate([face, rest], axis=1), np.concatenate([rest, face], axis=1)
    (track,) = through(path(detect_stride=4), [left, left, left, right, right])
    middles = (track.boxes[:, 0] + track.boxes[:, 2]) / 2
    assert (middles[:3] < 0.5).all()
    assert (middles[3:] > 0.5).all()


@pytest.mark.parametrize("view", ["crop", "frame"])
def test_a_view_without_detection_is_the_whole_picture(pictures: list[np.ndarray], view: str) -> None:
    chosen = path(region=view)
    assert chosen.detector is None
    (track,) = through(chosen, [pictures[0], np.zeros_like(pictures[0])])
    assert track.valid.all()
    assert np.isnan(track.boxes).all()
    assert not track.probabilities
    np.testing.assert_allclose(
        track.values[0], chosen.encoder.encode([chosen.encoder.prepare(pictures[0])])[0], atol=1e-5
    )


@pytest.mark.slow
def test_a_weight_file_is_loaded_strictly_and_without_its_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = InceptionResnetV1(pretrained=None, num_classes=8631, classify=True).eval()
    torch.save(network.state_dict(), tmp_path / "vggface2.pt")
    own = build_face_extractor(FaceSettings(), find_face_weights(str(tmp_path / "vggface2.pt"), "main", 0), CPU)
    network.classify = False
    faces = torch.rand(2, 3, 160, 160) * 255
    with torch.inference_mode():
        wanted = network((faces - 127.5) / 128).numpy()
    np.testing.assert_allclose(own.encoder.encode(list(faces)), wanted, atol=1e-4)

    state = network.state_dict()
    del state["conv2d_1a.conv.weight"]
    torch.save(state, tmp_path / "half.pt")
    with pytest.raises(EncoderError, match="expected the weights of InceptionResnetV1"):
        build_face_extractor(FaceSettings(), find_face_weights(str(tmp_path / "half.pt"), "main", 0), CPU)


def test_files_that_are_no_weights_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Opens(str(tmp_path / "opened"))))
    for name in ("text.pt", "evil.pt"):
        with pytest.raises(EncoderError, match="expected the weights"):
            build_face_extractor(FaceSettings(), find_face_weights(str(tmp_path / name), "main", 0), CPU)
    assert not (tmp_path / "opened").exists()


class Opens:
    """Pickled, this opens a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("foal.extract.encoders.weights._FACENET_URL", "http://127.0.0.1:9")
    with pytest.raises(EncoderError, match=r"fetch .*vggface2.pt and put it at .*checkpoints"):
        find_face_weights("vggface2", "main", 0)
    (tmp_path / "checkpoints" / "20180402-114759-vggface2.pt").write_bytes(b"x")
    with pytest.raises(EncoderError, match=r"expected the weights released as vggface2 .* remove it"):
        find_face_weights("vggface2", "main", 0)
    casia = tmp_path / "checkpoints" / "20180408-102900-casia-webface.pt"
    casia.write_bytes(b"x")
    assert find_face_weights("casia-webface", "main", 0).path == casia
    with pytest.raises(EncoderError, match="unknown face encoder 'nobody'"):
        find_face_weights("nobody", "main", 0)
