"""The media, the networks and the device of benchmarks/gpu.py."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from common.dialogs import read_rows, write_long_dialog
from common.gpu_networks import Networks

from foal.extract.media.video import Segment, open_video
from foal.extract.media.video_reader import RgbImage
from foal.extract.media.waveform import Wave, Waveform
from foal.shared.utterance import Utterance

Result = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """The media and the device of all parts; `seconds` is how long a pipeline is measured."""

    folder: Path
    precision: str
    seconds: float
    tiny: bool

    @cached_property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name(0) if self.device.type == "cuda" else "cpu"

    @cached_property
    def networks(self) -> Networks:
        return Networks(self.device, tiny=self.tiny)

    @cached_property
    def corpus(self) -> Path:
        corpus = self.folder / "corpus"
        if not corpus.exists():
            write_long_dialog(corpus, 1, 1.0 if self.tiny else 45.0)
        return corpus

    @cached_property
    def utterances(self) -> list[Utterance]:
        return read_rows(self.corpus)[: 2 if self.tiny else None]

    @cached_property
    def images(self) -> list[RgbImage]:
        """Speakers' halves of frames: 64 of them, fewer in tiny runs."""
        video = open_video(Path(f"/{self.utterances[0].video}"))
        plan = video.plan(Segment(start=0.3, end=1.0 if self.tiny else 13.1, fps=5.0))
        return [image for _, _, image in video.crops([plan], [self.utterances[0].box])]

    @cached_property
    def waves(self) -> list[Wave]:
        sounds: dict[str, Waveform] = {}
        waves = []
        for row in self.utterances:
            sound = sounds.setdefault(row.audio, Waveform(Path(f"/{row.audio}")))
            waves.append(sound.cut(row.start, row.end, whole=sound.seconds < (row.end or 0.0) - (row.start or 0.0) + 1))
        return waves

    def rate(self, items: float, run: Callable[[], object]) -> float:
        """Items per second of a function that handles `items`, after a warm-up; it must wait for the device."""
        run()
        took: list[float] = []
        end = time.perf_counter() + (0.0 if self.tiny else 3.0)
        while not took or time.perf_counter() < end:
            began = time.perf_counter()
            run()
            took.append(time.perf_counter() - began)
        return round(items / statistics.median(took), 2)
