"""What extraction costs: against its own parts, against one worker, and against each library's documented way.

    python benchmarks/extract.py [--clips DIR] [--minutes 6] [--corpus DIR]

Draws dialogs of several minutes (720x480, two speakers side by side, MPEG-4), adds the clips of a folder, extracts all
with encoders of full size (wav2vec2-base and InceptionResnetV1, seeded random weights) and prints one JSON line:

decode_s, detect_s, encode_s   each part alone, in one process with one thread
wall_s, overhead               `foal extract` with one worker of one thread, from its start to its end, over their sum
two_wall_s, two_workers        the same with two such workers, and how much faster that is
naive_s, speedup               the documented way of each library with all cores, and how much faster foal with two
                               workers is; naive: per utterance the file is opened, each frame is asked for by number,
                               MTCNN runs on the whole frame, each face and each wave goes through its network alone
audio_cosine, face_cosine      foal's embeddings against the naive ones: of the least similar frame
face_same_box                  the same where both encode the same box, around the mean of all faces
iou, iou_p05                   median and 5th percentile of the overlap of the two boxes of a frame
peak_rss_mb, realtime_factor   of the largest worker (one-worker run); seconds of speech per second (two workers)
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import decord
import numpy as np
import psutil
import torch
from facenet_pytorch import MTCNN, InceptionResnetV1
from say import machine, say
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from foal.extract.audio.loading import load_audio_encoder
from foal.extract.audio.pipeline import decode_audio
from foal.extract.encoders.weights import find_audio_weights, find_face_weights
from foal.extract.face.batching import FaceBatches, FaceExtractor, ImageEncoder
from foal.extract.face.detector import DetectedFace, cut_face, overlap
from foal.extract.face.facenet import build_face_extractor
from foal.extract.face.pipeline import DecodedFrame, VideoPlan, decode_video
from foal.extract.face.tracker import Track
from foal.extract.media.media_group import MediaGroup
from foal.extract.media.video import Segment, open_video
from foal.extract.media.video_reader import RgbImage
from foal.extract.media.waveform import Wave, Waveform, is_utterance_clip
from foal.manifests.iemocap import build as read_dialogs
from foal.manifests.label_folders import build as read_clips
from foal.manifests.synthetic.cast import actor
from foal.manifests.synthetic.corpus import write_dialog
from foal.manifests.synthetic.portrait import Portrait
from foal.manifests.synthetic.script import GENDERS, ScriptTurn, plan_dialogs
from foal.shared.config.settings import ExtractSettings
from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

CPU = torch.device("cpu")
SAME_BOX = 20
"""Utterances whose faces are encoded again, one by one, in the very boxes that foal found."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="folder of clips to run on as well")
    parser.add_argument("--minutes", type=float, default=6.0, help="of drawn dialogs, two of them")
    parser.add_argument("--corpus", type=Path, help="where the drawn corpus is kept for another run")
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--naive", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.naive:
        naive(arguments.naive)
        return
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        prepare(work, arguments)
        result = measure(work, json.loads((work / "work.json").read_text()))
    print(json.dumps(result))


def prepare(work: Path, arguments: argparse.Namespace) -> None:
    """Media, manifest, and an encoder of full size saved as anyone's would be."""
    corpus = arguments.corpus or work / "corpus"
    if not corpus.exists():
        say(f"drawing two dialogs of {arguments.minutes / 2:g} minutes")
        for session in (1, 2):
            draw(corpus, session, arguments.minutes / 2 * 60)
    rows = rows_of(corpus)
    if arguments.clips:
        with tempfile.TemporaryDirectory() as holder:
            # As a corpus of one class, whatever lies in the folder.
            (Path(holder) / "clips").symlink_to(arguments.clips.absolute())
            rows += [absolute(clip, Path(holder)) for clip in read_clips(Path(holder)).utterances if clip.video]
    write_manifest(work / "m.csv", rows)
    (work / "work.json").write_text(json.dumps({"fps": arguments.fps, "encoder": str(save_encoder(work))}))


def rows_of(corpus: Path) -> list[Utterance]:
    """The drawn utterances, all in one split."""
    drawn = read_dialogs(corpus.absolute(), corpus="synthetic").utterances
    return [absolute(utterance, corpus) for utterance in drawn]


def save_encoder(work: Path) -> Path:
    """A wav2vec2-base of full size with seeded random weights, as anyone's would be saved."""
    torch.manual_seed(0)
    folder = work / "wav2vec2-base"
    Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def draw(corpus: Path, session: int, seconds: float) -> None:
    """One long dialog: several short ones of the synthetic corpus, one after the other."""
    turns: list[ScriptTurn] = []
    clock = 0.0
    short = [dialog for dialog in plan_dialogs(2000, 1) if dialog.session == session]
    while clock < seconds:
        dialog = short.pop(0)
        for turn in dialog.turns:
            name = f"Ses{session:02d}F_impro01_{turn.speaker}{len(turns):03d}"
            turns.append(replace(turn, id=name, start=round(turn.start + clock, 4), end=round(turn.end + clock, 4)))
        clock += dialog.seconds
    portraits = {gender: Portrait(actor(session, gender).face) for gender in GENDERS}
    # Without B-frames, over which the documented way of asking for a frame by its number stumbles.
    joined = replace(
        dialog, name=f"Ses{session:02d}F_impro01", left_speaker="F", turns=tuple(turns), seconds=clock, b_frames=False
    )
    write_dialog(corpus / f"Session{session}", joined, portraits)


def measure(work: Path, spec: dict[str, Any]) -> dict[str, Any]:
    utterances = from_root(read_manifest(work / "m.csv"))
    say(f"{len(utterances)} utterances; the parts alone")
    decode_s, detect_s, encode_s, media_s = parts_alone(utterances, spec)
    say(f"decode {decode_s:.1f} s, detect {detect_s:.1f} s, encode {encode_s:.1f} s; foal with one worker")
    wall_s, peak = foal(work, spec, "one", "--workers", "1", "--set", "cluster.threads=1")
    say(f"{wall_s:.1f} s; with two")
    two_wall_s, _ = foal(work, spec, "two", "--workers", "2", "--set", "cluster.threads=1")
    say(f"{two_wall_s:.1f} s; the documented way")
    began = time.perf_counter()
    subprocess.run([sys.executable, __file__, "--naive", str(work)], check=True)
    naive_s = time.perf_counter() - began
    say(f"{naive_s:.1f} s")
    return {
        "decode_s": round(decode_s, 2),
        "detect_s": round(detect_s, 2),
        "encode_s": round(encode_s, 2),
        "wall_s": round(wall_s, 2),
        "overhead": round(wall_s / (decode_s + detect_s + encode_s), 3),
        "two_wall_s": round(two_wall_s, 2),
        "two_workers": round(wall_s / two_wall_s, 2),
        "naive_s": round(naive_s, 2),
        "speedup": round(naive_s / two_wall_s, 2),
        **agreement(work, utterances, spec),
        "peak_rss_mb": round(peak / 2**20),
        "realtime_factor": round(media_s / two_wall_s, 2),
        "media_s": round(media_s, 1),
        "utterances": len(utterances),
        "fps": spec["fps"],
        "machine": machine(),
    }


def parts_alone(utterances: Sequence[Utterance], spec: dict[str, Any]) -> tuple[float, float, float, float]:
    """Seconds of decoding, detecting and encoding, one after the other with one thread, and of the media."""
    torch.set_num_threads(1)
    settings = extract_settings(spec)
    encoder = load_audio_encoder(find_audio_weights(settings.audio.encoder, "main", 0), CPU, settings.audio)
    path = face_path(settings)
    path.encoder.encode([path.encoder.prepare(np.zeros((160, 160, 3), np.uint8))] * 16)
    encoder.encode([np.zeros(48000, np.float32)])
    clock = {"decode": 0.0, "detect": 0.0, "encode": 0.0}
    measured = Measured(path, clock)
    frames = 0
    for group in by_file(utterances, "video"):
        with timed(clock, "decode"):
            shown = list(decode_video(media_group(group, "face"), path.settings, path.encoder.width))
        batches, tracks = FaceBatches(measured), list[Track]()  # type: ignore[arg-type]
        for item in shown:
            if isinstance(item, VideoPlan):
                tracks = [Track.empty(length, path.encoder.width) for length in item.lengths]
            elif isinstance(item, DecodedFrame):
                batches.push(tracks[item.number], item.sample)
                frames += 1
        for track in tracks:
            batches.end(track)
        batches.finish()
    for group in by_file(utterances, "audio"):
        with timed(clock, "decode"):
            waves = [sound for _, _, sound in decode_audio(media_group(group, "audio"), encoder.frame_shape)]
        with timed(clock, "encode"):
            encoder.encode([wave for wave in waves if isinstance(wave, np.ndarray)])
    return clock["decode"], clock["detect"], clock["encode"], frames / spec["fps"]


class Measured:
    """A face path that clocks its detector and its encoder."""

    def __init__(self, path: FaceExtractor, clock: dict[str, float]) -> None:
        self.path, self.clock = path, clock
        self.settings, self.batch, self.width, self.device = path.settings, path.batch, path.encoder.width, CPU
        self.detector = self.encoder = self

    def detect(self, pictures: Sequence[RgbImage]) -> list[list[DetectedFace]]:
        assert self.path.detector is not None
        with timed(self.clock, "detect"):
            return self.path.detector.detect(pictures)

    def prepare(self, picture: RgbImage, face: DetectedFace | None) -> torch.Tensor:
        with timed(self.clock, "encode"):
            return self.path.prepare(picture, face)

    def encode(self, prepared: Sequence[torch.Tensor]) -> np.ndarray[Any, Any]:
        with timed(self.clock, "encode"):
            return self.path.encoder.encode(prepared)


@contextmanager
def timed(clock: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    clock[name] += time.perf_counter() - began


def by_file(utterances: Sequence[Utterance], kind: str) -> list[list[Utterance]]:
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(getattr(utterance, kind), []).append(utterance)
    return list(groups.values())


def media_group(group: Sequence[Utterance], modality: str) -> MediaGroup:
    return MediaGroup(modality=modality, path=Path(group[0].media(modality)), fingerprint="", utterances=group)


def extract_settings(spec: dict[str, Any]) -> ExtractSettings:
    """Those of the runs of the command below."""
    return ExtractSettings.model_validate(
        {"audio": {"encoder": spec["encoder"]}, "face": {"encoder": "random:facenet", "fps": spec["fps"]}}
    )


def face_path(settings: ExtractSettings) -> FaceExtractor:
    return build_face_extractor(settings.face, find_face_weights(settings.face.encoder, "main", settings.seed), CPU)


def foal(work: Path, spec: dict[str, Any], name: str, *options: str) -> tuple[float, float]:
    """Seconds that the whole command takes, and bytes that its largest worker had at its peak."""
    command = [
        sys.executable,
        "-c",
        "from foal.shared.cli.main import main; main()",
        "extract",
        "--split",
        "all",
        "--manifest",
        "m.csv",
        "--root",
        "/",
        "--features",
        name,
        "--audio-encoder",
        spec["encoder"],
        "--face-encoder",
        "random:facenet",
        "--fps",
        str(spec["fps"]),
        "--dtype",
        "float32",
        *options,
    ]
    began, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, cwd=work, stdout=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        with suppress(psutil.Error):
            peak = max([peak, *(child.memory_info().rss for child in watched.children(recursive=True))])
        time.sleep(1)
    if process.returncode not in (0, 3):
        raise SystemExit(f"foal extract ended with exit code {process.returncode}")
    return time.perf_counter() - began, peak


def naive(work: Path) -> None:
    """The documented way of each library, one thing after the other; writes what came of it."""
    spec = json.loads((work / "work.json").read_text())
    settings = extract_settings(spec)
    model = Wav2Vec2Model.from_pretrained(spec["encoder"]).eval()
    processor = Wav2Vec2FeatureExtractor.from_pretrained(spec["encoder"])
    mtcnn = MTCNN(keep_all=True)
    torch.manual_seed(settings.seed)
    network = InceptionResnetV1(pretrained=None).eval()
    found: dict[str, np.ndarray[Any, Any]] = {}
    for utterance in from_root(read_manifest(work / "m.csv")):
        with torch.inference_mode():
            prepared = processor(heard(utterance), sampling_rate=16000, return_tensors="pt")
            found[f"{utterance.id}|audio"] = model(prepared.input_values).last_hidden_state[0].numpy()
        reader = decord.VideoReader(utterance.video)
        wanted = Segment(start=utterance.start, end=utterance.end, fps=spec["fps"])
        last: np.ndarray[Any, Any] | None = None
        faces, boxes = [], []
        for index in open_video(Path(utterance.video)).plan(wanted):
            faces.append(np.zeros(512, np.float32))
            boxes.append(np.full(4, np.nan))
            if index < 0:
                continue
            picture = reader[int(index)].asnumpy()
            candidates, _ = mtcnn.detect(picture)
            box = chosen(candidates, utterance, picture, last)
            if box is not None:
                last = boxes[-1] = box
                cut = cut_face(picture, box, size=160, margin=settings.face.margin)
                with torch.inference_mode():
                    faces[-1] = network((cut[None] - 127.5) / 128)[0].numpy()
        found[f"{utterance.id}|face"], found[f"{utterance.id}|boxes"] = np.array(faces), np.array(boxes)
    np.savez(work / "naive.npz", **found)  # type: ignore[arg-type]


def heard(utterance: Utterance) -> Wave:
    sound = Waveform(Path(utterance.audio))
    return sound.cut(utterance.start, utterance.end, whole=is_utterance_clip(sound.seconds, utterance))


def chosen(
    candidates: np.ndarray[Any, Any] | None, utterance: Utterance, picture: RgbImage, last: np.ndarray[Any, Any] | None
) -> np.ndarray[Any, Any] | None:
    """Of all faces of a whole frame that of the speaker: in his part of it, near the last one, else the largest."""
    x0, x1 = (side * picture.shape[1] for side in utterance.box[::2])
    mine = [box for box in ([] if candidates is None else candidates) if x0 <= (box[0] + box[2]) / 2 <= x1]
    if not mine:
        return None
    if last is None:
        best = max(mine, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    else:
        best = min(mine, key=lambda box: np.linalg.norm(box[:2] + box[2:] - last[:2] - last[2:]))
    return np.asarray(best, np.float32)


def agreement(work: Path, utterances: Sequence[Utterance], spec: dict[str, Any]) -> dict[str, float]:
    """How near foal's features are to the naive ones."""
    found = np.load(work / "naive.npz")
    settings = extract_settings(spec)
    network = face_path(settings).encoder
    audio, faces, same, ious = list[float](), list[float](), list[float](), list[np.ndarray[Any, Any]]()
    all_faces = np.concatenate([found[f"{u.id}|face"] for u in utterances])
    # Random weights give all faces nearly the same embedding: what tells them apart is around the mean.
    mean = all_faces[all_faces.any(1)].mean(0)
    with FeatureStore(work / "one" / "feats.h5") as store:
        assert [u.id for u in store.utterances] == [u.id for u in utterances]
        for row, utterance in enumerate(utterances):
            audio.append(float(cosines(store.packed("audio", [row]).values, found[f"{utterance.id}|audio"]).min()))
            packed, theirs, boxes = store.packed("face", [row]), found[f"{utterance.id}|face"], store.boxes("face", row)
            assert boxes is not None
            both = packed.valid & theirs.any(1)
            if not both.any():
                continue
            faces.append(float(cosines(packed.values[both], theirs[both]).min()))
            ious.append(overlaps(in_frame(boxes, utterance)[both], found[f"{utterance.id}|boxes"][both]))
            if len(same) < SAME_BOX:
                again = singly(utterance, boxes, spec["fps"], network, settings)
                same.append(float(cosines(packed.values[packed.valid] - mean, again[packed.valid] - mean).min()))
    iou = np.concatenate(ious)
    return {
        "audio_cosine": round(min(audio), 6),
        "face_cosine": round(min(faces), 6),
        "face_same_box": round(min(same), 6),
        "iou": round(float(np.median(iou)), 3),
        "iou_p05": round(float(np.percentile(iou, 5)), 3),
        "frames_compared": len(iou),
    }


def singly(
    utterance: Utterance, boxes: np.ndarray[Any, Any], fps: float, network: ImageEncoder, settings: ExtractSettings
) -> np.ndarray[Any, Any]:
    """An utterance's faces, cut where foal says that they are, each through the network alone, (t, 512)."""
    video = open_video(Path(utterance.video))
    plan = video.plan(Segment(start=utterance.start, end=utterance.end, fps=fps))
    values = np.zeros((len(plan), 512), np.float32)
    for _, position, picture in video.crops([plan], [utterance.box]):
        if np.isfinite(boxes[position]).all():
            height, width = picture.shape[:2]
            box = boxes[position] * np.array([width, height, width, height], np.float32)
            values[position] = network.encode([cut_face(picture, box, size=160, margin=settings.face.margin)])[0]
    return values


def in_frame(boxes: np.ndarray[Any, Any], utterance: Utterance) -> np.ndarray[Any, Any]:
    """Stored boxes (t, 4), fractions of the speaker's part, in pixels of the whole frame."""
    height, width = decord.VideoReader(utterance.video)[0].shape[:2]
    x0, y0, x1, y1 = (round(part * side) for part, side in zip(utterance.box, (width, height) * 2, strict=True))
    pixels: np.ndarray[Any, Any] = boxes * [x1 - x0, y1 - y0, x1 - x0, y1 - y0] + [x0, y0, x0, y0]
    return pixels


def overlaps(ones: np.ndarray[Any, Any], others: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([overlap(one, other) for one, other in zip(ones, others, strict=True)])


def cosines(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of the rows of two arrays, (n,)."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    cosine: np.ndarray[Any, Any] = (one * other).sum(1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
    return cosine


def absolute(utterance: Utterance, root: Path) -> Utterance:
    """With its media named from the root of the disk, so that dialogs and clips stand in one manifest."""
    audio, video = ((root / path).resolve().as_posix().lstrip("/") for path in (utterance.audio, utterance.video))
    return replace(utterance, audio=audio, video=video, session="bench", fold="")


def from_root(utterances: Sequence[Utterance]) -> list[Utterance]:
    return [replace(utterance, audio=f"/{utterance.audio}", video=f"/{utterance.video}") for utterance in utterances]


if __name__ == "__main__":
    main()
