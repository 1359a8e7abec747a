"""Time of extraction compared with the sum of its parts, with one worker, and with a naive implementation.

    python benchmarks/extract.py [--clips DIR] [--minutes 6] [--corpus DIR] [--tiny]

Generates dialogs of several minutes (720x480, two speakers side by side, MPEG-4), adds the clips of a folder, extracts
all of them with full-size encoders (wav2vec2-base and InceptionResnetV1, seeded random weights) and prints one JSON
line:

decode_s, detect_s, encode_s   each part alone, in one process with one thread
encode_audio_s, encode_face_s  the two summands of encode_s
wall_s, overhead               `foal extract` with one single-threaded worker; wall_s divided by the sum of the parts
two_wall_s, two_workers        the same with two such workers; the speedup over one
naive_s, speedup               benchmarks/common/naive.py with all cores; the speedup of foal with two workers over it
audio_cosine ... iou_p05       similarity to the naive embeddings and boxes; see naive.compare()
peak_rss_mb, realtime_factor   peak memory of the worker (one-worker run); speech seconds per second (two workers)

--tiny: a few seconds of media, a small audio encoder, one worker only; checks that every part is measured.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.dialogs import (
    ONE_THREAD,
    Workload,
    extract,
    read_rows,
    read_workload,
    save_encoder,
    with_root_paths,
    write_long_dialog,
    write_workload,
)
from common.naive import compare, extract_naively
from common.report import check_equal, check_measured, log, machine

from foal.extract.audio.loading import load_audio_encoder
from foal.extract.audio.pipeline import AudioClip, decode_audio
from foal.extract.encoders.transfer import HostCopy
from foal.extract.encoders.weights import find_audio_weights, find_face_weights
from foal.extract.face.batching import FaceBatches, FaceExtractor
from foal.extract.face.detector import DetectedFace
from foal.extract.face.facenet import build_face_extractor
from foal.extract.face.pipeline import DecodedFrame, VideoPlan, decode_video
from foal.extract.face.tracker import Track
from foal.extract.media.media_group import MediaGroup
from foal.extract.media.video_reader import RgbImage
from foal.manifests.corpora.label_folders import build as read_clips
from foal.shared.config.settings import ExtractSettings
from foal.shared.utterance import Utterance

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="folder of clips to run on as well")
    parser.add_argument("--minutes", type=float, default=6.0, help="total length of the two generated dialogs")
    parser.add_argument("--corpus", type=Path, help="keep the generated corpus in this folder, for another run")
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    parser.add_argument("--naive", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.naive:
        work = read_workload(arguments.naive)
        extract_naively(work, extract_settings(work))
        return
    if arguments.tiny:
        arguments.minutes, arguments.fps = 0.1, 1.0
    with tempfile.TemporaryDirectory() as scratch:
        work = prepare(Path(scratch), arguments)
        result = measure(work, tiny=arguments.tiny)
    print(json.dumps(result))


def prepare(folder: Path, arguments: argparse.Namespace) -> Workload:
    """Generate the media and save the audio encoder."""
    corpus = arguments.corpus or folder / "corpus"
    if not corpus.exists():
        log(f"generating two dialogs of {arguments.minutes / 2:g} minutes")
        for session in (1, 2):
            write_long_dialog(corpus, session, arguments.minutes / 2 * 60)
    rows = read_rows(corpus)
    if arguments.clips:
        with tempfile.TemporaryDirectory() as holder:
            # The link makes the folder a corpus with one class, independent of its name.
            (Path(holder) / "clips").symlink_to(arguments.clips.absolute())
            rows += [with_root_paths(clip, Path(holder)) for clip in read_clips(Path(holder)).utterances if clip.video]
    if arguments.tiny:
        rows = [*rows[:2], *rows[-2:]]
    encoder = save_encoder(folder, tiny=arguments.tiny)
    return Workload(folder=folder, encoder=encoder, fps=arguments.fps, utterances=rows)


def measure(work: Workload, *, tiny: bool) -> dict[str, Any]:
    """Run everything in sequence and compare the features."""
    settings = extract_settings(work)
    log(f"{len(work.utterances)} utterances; the parts alone")
    parts = measure_parts(work, settings)
    parts_s = parts.decode_s + parts.detect_s + parts.encode_audio_s + parts.encode_face_s
    log(f"{parts}; foal with one worker")
    one = extract(work, "one", "--workers", "1", *ONE_THREAD)
    log(f"{one.seconds:.1f} s")
    fastest = one if tiny else extract(work, "two", "--workers", "2", *ONE_THREAD)
    log(f"{fastest.seconds:.1f} s with two; the documented way")
    began = time.perf_counter()
    if tiny:
        extract_naively(work, settings)
    else:
        write_workload(work)
        subprocess.run([sys.executable, __file__, "--naive", str(work.folder)], check=True)
    naive_s = time.perf_counter() - began
    log(f"{naive_s:.1f} s")
    result = {
        "decode_s": round(parts.decode_s, 3),
        "detect_s": round(parts.detect_s, 3),
        "encode_s": round(parts.encode_audio_s + parts.encode_face_s, 3),
        "encode_audio_s": round(parts.encode_audio_s, 3),
        "encode_face_s": round(parts.encode_face_s, 3),
        "wall_s": round(one.seconds, 2),
        "overhead": round(one.seconds / parts_s, 3),
        "naive_s": round(naive_s, 2),
        "speedup": round(naive_s / fastest.seconds, 2),
        **compare(work, work.folder / "one" / "feats.h5", settings, face_path(settings).encoder),
        "peak_rss_mb": round(one.peak_bytes / 2**20),
        "realtime_factor": round(parts.media_s / fastest.seconds, 3),
        "media_s": round(parts.media_s, 1),
        "frames": parts.frames,
        "faces": parts.faces,
        "utterances": len(work.utterances),
        "fps": work.fps,
    }
    if not tiny:
        result |= {"two_wall_s": round(fastest.seconds, 2), "two_workers": round(one.seconds / fastest.seconds, 2)}
    check_measured(result, *result)
    return {**result, "machine": machine()}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Seconds of each part alone; seconds of speech, number of analyzed frames and of encoded faces."""

    decode_s: float
    detect_s: float
    encode_audio_s: float
    encode_face_s: float
    media_s: float
    frames: int
    faces: int


def measure_parts(work: Workload, settings: ExtractSettings) -> Parts:
    """Decode, detect and encode all media with one thread, and time each part."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    encoder = load_audio_encoder(find_audio_weights(settings.audio.encoder, "main", 0), CPU, settings.audio)
    path = face_path(settings)
    # The first batches allocate memory.
    path.encoder.encode([path.encoder.prepare(np.zeros((160, 160, 3), np.uint8))] * 16)
    encoder.encode([np.zeros(48000, np.float32)])
    clock = dict.fromkeys(("decode", "detect", "audio", "face"), 0.0)
    timed_path = TimedFacePath(path, clock)
    utterances = [replace(row, audio=f"/{row.audio}", video=f"/{row.video}") for row in work.utterances]
    frames, encoded_audio, media_s = 0, 0, 0.0
    for group in by_file(utterances, "video"):
        with timed(clock, "decode"):
            events = list(decode_video(media_part(group, "face"), path.settings, path.encoder.width))
        batches, tracks = FaceBatches(timed_path), list[Track]()  # type: ignore[arg-type]
        for event in events:
            if isinstance(event, VideoPlan):
                tracks = [Track.empty(length, path.encoder.width) for length in event.lengths]
            elif isinstance(event, DecodedFrame):
                batches.push(tracks[event.number], event.sample)
                frames += 1
        for track in tracks:
            batches.end(track)
        batches.finish()
    for group in by_file(utterances, "audio"):
        with timed(clock, "decode"):
            clips = [sound for _, _, sound in decode_audio(media_part(group, "audio"), encoder.frame_shape)]
        waves = [clip.wave for clip in clips if isinstance(clip, AudioClip)]
        with timed(clock, "audio"):
            encoded_audio += sum(len(states) > 0 for states in encoder.encode(waves))
        media_s += sum(map(len, waves)) / 16000
    torch.set_num_threads(threads)
    check_equal("utterances whose sound was encoded", encoded_audio, len(utterances))
    return Parts(
        decode_s=clock["decode"],
        detect_s=clock["detect"],
        encode_audio_s=clock["audio"],
        encode_face_s=clock["face"],
        media_s=media_s,
        frames=frames,
        faces=timed_path.faces,
    )


class TimedFacePath:
    """A face extractor that measures the time of its detector and its encoder."""

    def __init__(self, path: FaceExtractor, clock: dict[str, float]) -> None:
        self.path = path
        self.clock = clock
        self.faces = 0
        self.settings = path.settings
        self.batch = path.batch
        self.on_device = path.on_device
        self.width = path.encoder.width
        self.device = CPU
        self.detector = self
        self.encoder = self

    def detect(self, pictures: Sequence[RgbImage]) -> list[list[DetectedFace]]:
        assert self.path.detector is not None
        with timed(self.clock, "detect"):
            return self.path.detector.detect(pictures)

    def prepare(self, picture: RgbImage, face: DetectedFace | None) -> torch.Tensor:
        self.faces += face is not None
        with timed(self.clock, "face"):
            return self.path.prepare(picture, face)

    def start(self, prepared: Sequence[torch.Tensor]) -> HostCopy:
        with timed(self.clock, "face"):
            return self.path.start(prepared)


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


def media_part(group: Sequence[Utterance], modality: str) -> MediaGroup:
    return MediaGroup(modality=modality, path=Path(group[0].media(modality)), fingerprint="", utterances=group)


def extract_settings(work: Workload) -> ExtractSettings:
    """Return the settings that `foal extract` uses in these runs."""
    return ExtractSettings.model_validate(
        {"audio": {"encoder": str(work.encoder)}, "face": {"encoder": "random:facenet", "fps": work.fps}}
    )


def face_path(settings: ExtractSettings) -> FaceExtractor:
    return build_face_extractor(settings.face, find_face_weights(settings.face.encoder, "main", settings.seed), CPU)


if __name__ == "__main__":
    main()
