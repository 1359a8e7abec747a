"""A self-test of a few seconds on a generated clip and tiny random networks: decode, detect, encode, store, train."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...shared.store.catalog import shard_folder
from ...shared.store.entry import Entry, ShardHeader
from ...shared.utterance import Utterance
from .finding import Finding, failure, ok, warning

CLIP_SECONDS = 1.0
FACES_PER_SECOND = 4.0
UTTERANCES, SESSIONS, CLASSES = 18, 3, ("hap", "sad")
"""Of the features that are trained on."""
CONFIG_HASH = "0" * 64
REPORT = "please report this with the output of `foal --debug doctor`"


@dataclass
class SelfTest:
    """The steps of the self-test; each uses the results of the one before.

    Attributes:
        folder: an empty folder for its files.
        images: decoded images (h, w, 3).
        wave: decoded sound (samples,) at 16 kHz.
        features: encoded sound and images, (t, width) by modality.
    """

    folder: Path
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    wave: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def decode(self) -> str:
        """Generate a clip of one actor, and decode its picture and its sound."""
        from ...extract.media.video import Segment, open_video
        from ...extract.media.waveform import Waveform

        video_path, sound_path = _write_clip(self.folder)
        video = open_video(video_path)
        plan = video.plan(Segment(start=0.0, end=CLIP_SECONDS, fps=FACES_PER_SECOND))
        self.images = [image for _, _, image in video.crops([plan], [(0.0, 0.0, 1.0, 1.0)])]
        self.wave = Waveform(sound_path).cut(0.0, CLIP_SECONDS)
        if len(self.images) != len(plan) or not np.abs(self.wave).max() > 0:
            raise ValueError(f"expected {len(plan)} images and sound, got {len(self.images)} images")
        return f"{len(self.images)} images and {len(self.wave)} samples by {type(video.reader).__name__}"

    def detect(self) -> str:
        """Detect the actors' faces with MTCNN."""
        import torch

        from ...extract.face.detector import FaceDetector

        detector = FaceDetector(min_face_fraction=0.1, min_probability=0.9, device=torch.device("cpu"))
        found = [len(faces) for faces in detector.detect(self.images)]
        if not any(found):
            raise ValueError("MTCNN found no face in the generated clip")
        return f"{sum(map(bool, found))} of {len(found)} images with a face"

    def encode(self) -> str:
        """Encode sound and images with tiny random networks, on the GPU if there is one."""
        import torch

        from ...extract.audio.loading import load_audio_encoder
        from ...extract.encoders.weights import find_audio_weights, find_face_weights
        from ...extract.face.facenet import build_face_extractor
        from ...shared.config.settings import FaceSettings

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        audio = load_audio_encoder(find_audio_weights("random:tiny", "main", 0), device)
        weights = find_face_weights("random:tiny", "main", 0)
        face = build_face_extractor(FaceSettings(encoder="random:tiny", region="frame"), weights, device)
        (sound,) = audio.encode([self.wave])
        faces = face.encoder.encode([face.encoder.prepare(image) for image in self.images])
        self.features = {"audio": sound, "face": faces}
        if not all(np.isfinite(values).all() for values in self.features.values()):
            raise ValueError("expected finite features, got NaN or infinite values")
        return f"on {device}: " + ", ".join(f"{name} {len(v)} x {v.shape[-1]}" for name, v in self.features.items())

    def store(self) -> str:
        """Write the features of several utterances into shards and an index, and check every byte."""
        from ...shared.store.index_writer import write_index
        from ...shared.store.shard_reader import verify_shard
        from ...shared.store.shard_writer import ShardWriter

        utterances = [_utterance(number) for number in range(UTTERANCES)]
        rng = np.random.default_rng(0)
        features = self.folder / "features"
        for modality, values in self.features.items():
            for session in range(SESSIONS):
                path = shard_folder(features, f"session{session}", modality, CONFIG_HASH) / "shard.h5"
                with ShardWriter(path, _header(modality, values.shape[-1]), dtype="float16") as writer:
                    for utterance in utterances[session::SESSIONS]:
                        noisy = values + rng.normal(scale=0.1, size=values.shape).astype(np.float32)
                        writer.add(_entry(utterance, modality, noisy))
                if damage := verify_shard(path):
                    raise ValueError(", ".join(damage))
        write_index(self.folder / "feats.h5", utterances, features, dict.fromkeys(self.features, CONFIG_HASH))
        return f"{SESSIONS * len(self.features)} shards and an index of {UTTERANCES} utterances, intact"

    def train(self) -> str:
        """Train and test heads of two epochs on the features, fold by fold."""
        from ...shared.config.settings import Settings
        from ...shared.config.train_settings import TrainSettings
        from ...train.run import train

        quick = TrainSettings(width=16, heads=2, epochs=2, batch_size=8, bootstrap=50)
        settings = Settings(train=quick)
        metrics = train(settings, self.folder / "feats.h5", self.folder / "run")
        return f"{len(metrics['folds'])} folds of {quick.epochs} epochs; features say nothing about their labels here"


def check_by_running() -> Iterator[Finding]:
    """Run the self-test in a temporary folder; after a failure, the later steps are skipped."""
    with tempfile.TemporaryDirectory(prefix="foal-doctor-") as folder:
        test = SelfTest(folder=Path(folder))
        steps: list[tuple[str, Callable[[], str]]] = [
            (name, getattr(test, name)) for name in ("decode", "detect", "encode", "store", "train")
        ]
        yield from run_steps(steps)


def run_steps(steps: list[tuple[str, Callable[[], str]]]) -> Iterator[Finding]:
    """Run steps, each a function that returns what it did, until one fails."""
    failed = ""
    for name, step in steps:
        if failed:
            yield warning(f"self-test: {name}", "not run", f"solve the failure of {failed} first")
            continue
        began = time.monotonic()
        try:
            text = step()
        except Exception as error:
            failed = name
            yield failure(f"self-test: {name}", f"{type(error).__name__}: {error}", REPORT)
            continue
        yield ok(f"self-test: {name}", f"{text} ({time.monotonic() - began:.1f} s)")


def _write_clip(folder: Path) -> tuple[Path, Path]:
    """Video and sound of two actors of the synthetic corpus, one of whom speaks."""
    import soundfile

    from ...manifests.synthetic.cast import actor
    from ...manifests.synthetic.corpus import turn_voice
    from ...manifests.synthetic.portrait import Portrait
    from ...manifests.synthetic.script import GENDERS, Dialog, ScriptTurn
    from ...manifests.synthetic.video import render_video
    from ...shared.timing import SAMPLE_RATE

    moods: dict[str, Any] = dict.fromkeys(
        [f"{part}{mood}" for part in ("", "voice_", "face_") for mood in ("arousal", "valence")], 0.5
    )
    turn = ScriptTurn(id="clip", speaker="F", emotion="hap", start=0.0, end=CLIP_SECONDS, text="", **moods)
    dialog = Dialog(
        name="clip", session=1, left_speaker="F", turns=(turn,), seconds=CLIP_SECONDS, b_frames=True, seed=(0,)
    )
    sound = turn_voice(turn, dialog.session, np.random.default_rng(0))
    video_path, sound_path = folder / "clip.avi", folder / "clip.wav"
    soundfile.write(sound_path, sound, SAMPLE_RATE, subtype="PCM_16")
    portraits = {gender: Portrait(actor(dialog.session, gender).face) for gender in GENDERS}
    render_video(video_path, dialog, [sound], portraits)
    return video_path, sound_path


def _utterance(number: int) -> Utterance:
    return Utterance(
        id=f"u{number}",
        corpus="self-test",
        session=f"session{number % SESSIONS}",
        speaker=f"speaker{number % (2 * SESSIONS)}",
        label=CLASSES[number % len(CLASSES)],
        audio="clip.wav",
        video="clip.avi",
        end=CLIP_SECONDS,
    )


def _header(modality: str, width: int) -> ShardHeader:
    return ShardHeader(
        modality=modality,
        config_hash=CONFIG_HASH,
        rate_hz=50.0 if modality == "audio" else FACES_PER_SECOND,
        encoder="random:tiny",
        revision="",
        weights="0",
        random_weights=True,
        config={"width": width},
    )


def _entry(utterance: Utterance, modality: str, values: NDArray[np.float32]) -> Entry:
    return Entry(
        id=utterance.id,
        values=values,
        valid=np.ones(len(values), bool),
        origin=0.0,
        source=utterance.source(modality),
        media="1:1",
    )
