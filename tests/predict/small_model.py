"""Clips of a second, and a run that was trained on the features of such clips in this process."""

from pathlib import Path
from typing import Any

import av
import numpy as np

from foal.extract.schedule.stream_spec import build_stream_spec
from foal.predict.extraction.cache import extracted_features
from foal.predict.extraction.encoders import ModelStream
from foal.shared.config.settings import ExtractSettings, Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.utterance import Utterance
from foal.tests.media_fixtures import frame_with_number
from foal.train.run import train

STREAMS = ("audio", "face")
FRAMES = {"streams": STREAMS, "face": {"region": "frame", "fps": 5.0}}
QUICK = {"width": 16, "heads": 2, "layers": 1, "epochs": 2, "batch_size": 8, "bootstrap": 50, "streams": STREAMS}
RATE = 16_000


def write_clip(path: Path, *, seconds: float = 1.0, hz: int = 300, picture: bool = True, sound: bool = True) -> Path:
    """A clip of a tone and of numbered frames, ten a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10) if picture else None
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono") if sound else None
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for number in range(round(10 * seconds)):
                image = frame_with_number(number + hz, width=64, height=48)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = number
                container.mux(video.encode(frame))
            container.mux(video.encode())
        if audio is not None:
            tone = np.sin(np.arange(round(seconds * RATE)) / RATE * 2 * np.pi * hz) * 16_000
            block = av.AudioFrame.from_ndarray(tone[None].astype(np.int16), format="s16", layout="mono")
            block.sample_rate, block.pts = RATE, 0
            container.mux(audio.encode(block))
            container.mux(audio.encode())
    return path


def model_streams(**settings: Any) -> dict[str, ModelStream]:
    found = ExtractSettings.model_validate(FRAMES | settings)
    return {name: ModelStream(settings=found, spec=build_stream_spec(found, name)) for name in found.streams}


def labelled(folder: Path) -> list[Utterance]:
    """Twelve clips of two classes in three sessions."""
    return [
        Utterance(
            id=f"u{number}",
            corpus="small",
            session=f"session{number % 3 + 1}",
            speaker=f"s{number % 6}",
            label=("hap", "sad")[number // 6],
            audio=str(path),
            video=str(path),
        )
        for number in range(12)
        for path in [write_clip(folder / f"u{number}.avi", hz=200 + 10 * number + 300 * (number // 6))]
    ]


def train_run(folder: Path, *, streams: dict[str, ModelStream] | None = None, **changes: Any) -> Path:
    """Train on the features of `labelled` clips; returns the run."""
    found = streams or model_streams()
    settings = Settings(train=TrainSettings.model_validate(QUICK | {"streams": tuple(found)} | changes))
    with extracted_features(labelled(folder / "media"), found, settings, folder=folder / "features") as extracted:
        assert extracted.index is not None
        train(settings, extracted.index, folder / "run")
    return folder / "run"
