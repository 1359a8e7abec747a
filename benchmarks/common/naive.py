"""A sequential extraction that uses each library as documented, and a comparison of its results with foal's features.

For each utterance it opens the file, requests each frame by number, runs MTCNN on the full frame, and encodes each face
and each waveform separately.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import decord
import numpy as np
import torch
from common.dialogs import Workload
from common.report import check_measured
from facenet_pytorch import MTCNN, InceptionResnetV1, extract_face
from numpy.typing import NDArray
from PIL import Image
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

from foal.extract.face.batching import ImageEncoder
from foal.extract.face.cropping import cut_stretched
from foal.extract.face.detector import overlap
from foal.extract.media.video import Segment, open_video
from foal.extract.media.video_reader import RgbImage
from foal.extract.media.waveform import Wave, Waveform, is_utterance_clip
from foal.shared.config.settings import ExtractSettings
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

SAME_BOX = 20
"""Number of utterances whose faces are also encoded one by one in the boxes that foal detected."""


def extract_naively(work: Workload, settings: ExtractSettings) -> None:
    """Write `naive.npz`: for each utterance `ID|audio` (t_a, d_a), `ID|face` (t_v, 512) and `ID|boxes` (t_v, 4)."""
    model = Wav2Vec2Model.from_pretrained(work.encoder).eval()
    processor = Wav2Vec2FeatureExtractor.from_pretrained(work.encoder)
    mtcnn = MTCNN(keep_all=True)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        network = InceptionResnetV1(pretrained=None).eval()
    arrays: dict[str, NDArray[Any]] = {}
    for utterance in work.utterances:
        with torch.inference_mode():
            prepared = processor(read_wave(utterance), sampling_rate=16000, return_tensors="pt")
            arrays[f"{utterance.id}|audio"] = model(prepared.input_values).last_hidden_state[0].numpy()
        reader = decord.VideoReader(f"/{utterance.video}")
        wanted = Segment(start=utterance.start, end=utterance.end, fps=work.fps)
        last: NDArray[Any] | None = None
        faces, boxes = [], []
        for index in open_video(Path(f"/{utterance.video}")).plan(wanted):
            faces.append(np.zeros(512, np.float32))
            boxes.append(np.full(4, np.nan))
            if index < 0:
                continue
            picture = reader[int(index)].asnumpy()
            candidates, _ = mtcnn.detect(picture)
            box = choose_box(candidates, utterance, picture, last)
            if box is not None:
                last = boxes[-1] = box
                cut = extract_face(Image.fromarray(picture), box)
                with torch.inference_mode():
                    faces[-1] = network((cut[None] - 127.5) / 128)[0].numpy()
        arrays[f"{utterance.id}|face"], arrays[f"{utterance.id}|boxes"] = np.array(faces), np.array(boxes)
    np.savez(work.folder / "naive.npz", **arrays)  # type: ignore[arg-type]


def read_wave(utterance: Utterance) -> Wave:
    sound = Waveform(Path(f"/{utterance.audio}"))
    return sound.cut(utterance.start, utterance.end, whole=is_utterance_clip(sound.seconds, utterance))


def choose_box(
    candidates: NDArray[Any] | None, utterance: Utterance, picture: RgbImage, last: NDArray[Any] | None
) -> NDArray[Any] | None:
    """Choose the face in the speaker's part of the frame nearest to the last one, or the largest if there is none."""
    x0, x1 = (side * picture.shape[1] for side in utterance.box[::2])
    inside = [box for box in ([] if candidates is None else candidates) if x0 <= (box[0] + box[2]) / 2 <= x1]
    if not inside:
        return None
    if last is None:
        best = max(inside, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    else:
        best = min(inside, key=lambda box: np.linalg.norm(box[:2] + box[2:] - last[:2] - last[2:]))
    return np.asarray(best, np.float32)


def compare(work: Workload, features: Path, settings: ExtractSettings, network: ImageEncoder) -> dict[str, float]:
    """Compare foal's features with those in `naive.npz`.

    audio_cosine, face_cosine: cosine similarity of the least similar frame. face_same_box: the same for identical
    boxes, after the mean of all faces is subtracted, because random weights give all faces nearly the same embedding.
    iou, iou_p05: median and 5th percentile of the overlap of the two boxes of a frame.
    """
    naive = np.load(work.folder / "naive.npz")
    audio, faces, same, ious = list[float](), list[float](), list[float](), list[NDArray[Any]]()
    all_faces = np.concatenate([naive[f"{utterance.id}|face"] for utterance in work.utterances])
    mean = all_faces[all_faces.any(1)].mean(0)
    with FeatureStore(features) as store:
        for row, utterance in enumerate(work.utterances):
            audio.append(float(cosines(store.packed("audio", [row]).values, naive[f"{utterance.id}|audio"]).min()))
            packed, alone, boxes = store.packed("face", [row]), naive[f"{utterance.id}|face"], store.boxes("face", row)
            assert boxes is not None
            both = packed.valid & alone.any(1)
            if not both.any():
                continue
            faces.append(float(cosines(packed.values[both], alone[both]).min()))
            ious.append(overlaps(in_frame(boxes, utterance)[both], naive[f"{utterance.id}|boxes"][both]))
            if len(same) < SAME_BOX:
                again = encode_one_by_one(utterance, boxes, work.fps, network)
                same.append(float(cosines(packed.values[packed.valid] - mean, again[packed.valid] - mean).min()))
    iou = np.concatenate(ious)
    result = {
        "audio_cosine": round(min(audio), 6),
        "face_cosine": round(min(faces), 6),
        "face_same_box": round(min(same), 6),
        "iou": round(float(np.median(iou)), 3),
        "iou_p05": round(float(np.percentile(iou, 5)), 3),
        "frames_compared": len(iou),
    }
    check_measured(result, *result)
    return result


def encode_one_by_one(utterance: Utterance, boxes: NDArray[Any], fps: float, network: ImageEncoder) -> NDArray[Any]:
    """Encode the faces of an utterance in the boxes of foal (t, 4) one by one; return the embeddings (t, 512)."""
    video = open_video(Path(f"/{utterance.video}"))
    frames = video.plan(Segment(start=utterance.start, end=utterance.end, fps=fps))
    values = np.zeros((len(frames), 512), np.float32)
    for _, position, picture in video.crops([frames], [utterance.box]):
        if np.isfinite(boxes[position]).all():
            height, width = picture.shape[:2]
            box = boxes[position] * np.array([width, height, width, height], np.float32)
            values[position] = network.encode([cut_stretched(picture, box, size=160, margin=0.0)])[0]
    return values


def in_frame(boxes: NDArray[Any], utterance: Utterance) -> NDArray[Any]:
    """Convert stored boxes (t, 4) from fractions of the speaker's part to pixels of the full frame."""
    height, width = decord.VideoReader(f"/{utterance.video}")[0].shape[:2]
    x0, y0, x1, y1 = (round(part * side) for part, side in zip(utterance.box, (width, height) * 2, strict=True))
    pixels: NDArray[Any] = boxes * [x1 - x0, y1 - y0, x1 - x0, y1 - y0] + [x0, y0, x0, y0]
    return pixels


def overlaps(boxes: NDArray[Any], others: Sequence[NDArray[Any]] | NDArray[Any]) -> NDArray[Any]:
    return np.array([overlap(box, other) for box, other in zip(boxes, others, strict=True)])


def cosines(rows: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Return the cosine similarity of corresponding rows of two arrays (n, d), as (n,)."""
    rows, others = rows.astype(np.float64), others.astype(np.float64)
    cosine: NDArray[Any] = (rows * others).sum(1) / (np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1))
    return cosine
