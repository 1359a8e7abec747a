"""Images of a synthetic face, and face extractors with random weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from foal.extract.encoders.weights import find_face_weights
from foal.extract.face.batching import FaceBatches, FaceExtractor
from foal.extract.face.facenet import build_face_extractor
from foal.extract.face.tracker import FrameSample, Track
from foal.extract.media.video import Segment, open_video
from foal.shared.config.settings import FaceSettings

LEFT_HALF = (0.0, 0.0, 0.5, 1.0)


@pytest.fixture(scope="session")
def images(synthetic_corpus: Path) -> list[np.ndarray]:
    """Eight images of a speaker in a synthetic dialog."""
    video = open_video(sorted(synthetic_corpus.glob("Session1/dialog/avi/DivX/*.avi"))[0])
    plan = video.plan(Segment(start=0.5, end=2.1, fps=5))
    return [image for _, _, image in video.crops([plan], [LEFT_HALF])]


def build_extractor(encoder: str = "random:tiny", *, batch: int = 16, **settings: object) -> FaceExtractor:
    face_settings = FaceSettings(encoder=encoder, **settings)  # type: ignore[arg-type]
    return build_face_extractor(face_settings, find_face_weights(encoder, "main", 3), torch.device("cpu"), batch=batch)


def track_utterances(extractor: FaceExtractor, *utterances: list[np.ndarray]) -> list[Track]:
    batches = FaceBatches(extractor)
    choose = extractor.settings.choose
    tracks = [Track.empty(len(images), extractor.encoder.width, choose=choose) for images in utterances]
    for position in range(max(map(len, utterances))):
        for track, images in zip(tracks, utterances, strict=True):
            if position < len(images):
                batches.push(track, FrameSample(position=position, image=images[position]))
    for track in tracks:
        batches.end(track)
    batches.finish()
    assert all(track.finished for track in tracks)
    return tracks


@pytest.fixture(scope="session")
def build() -> Callable[..., FaceExtractor]:
    """build(encoder, batch=..., **settings): an extractor with random weights."""
    return build_extractor


@pytest.fixture(scope="session")
def run_batches() -> Callable[..., list[Track]]:
    """run_batches(extractor, images, ...): the tracks of one or more utterances with interleaved frames."""
    return track_utterances
