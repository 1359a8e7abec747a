"""Encoders that read clips of several frames (VideoMAE), and the clips that they get from an utterance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...shared.errors import EncoderError
from ..encoders.inference import autocast
from ..encoders.pretrained import load_pretrained
from ..encoders.transfer import HostCopy, to_device
from ..encoders.weights import Weights, read_json
from ..media.video_reader import RgbImage
from .tracker import Track
from .vision import load_processor, process_image

CLIP_MODELS = ("videomae",)


class ClipEncoder:
    """VideoMAE: clips of `frames` consecutive frames in, one vector per frame out.

    The model joins the frames of a tubelet (two) into one position in time. The patch tokens of a position are
    averaged over space, and each frame of the tubelet gets that vector.

    Attributes:
        frames: frames of a clip.
        width: numbers per vector, d_v.
        size: side of the square images that it takes, in pixels.
    """

    def __init__(self, *, model: nn.Module, processor: Any, size: int, device: torch.device, precision: str) -> None:
        config: Any = model.config
        self.model = model.to(device).eval().requires_grad_(False)
        self.processor = processor
        self.frames: int = config.num_frames
        self.width: int = config.hidden_size
        self.size = size
        self.device = device
        self.precision = precision
        self._tubelet: int = config.tubelet_size

    def prepare(self, image: RgbImage) -> torch.Tensor:
        """Convert a whole image (h, w, 3) to the model's input (3, size, size), float32, on the CPU."""
        return process_image(self.processor, image)[0]

    def prepare_face(self, face: torch.Tensor) -> torch.Tensor:
        """Rescale and normalize a face (3, size, size), 0 to 255, without resizing or cropping it."""
        as_is = {"do_resize": False, "do_center_crop": False, "input_data_format": "channels_first"}
        pixels: torch.Tensor = self.processor([face], **as_is, return_tensors="pt")["pixel_values"][0, 0]
        return pixels.float()

    def prepare_on_device(self, pixels: torch.Tensor, *, faces: bool) -> torch.Tensor:
        """Not used: the frames of clips are prepared one by one."""
        raise NotImplementedError

    @torch.inference_mode()
    def start(self, batch: torch.Tensor) -> HostCopy:
        """Start to encode clips (n, frames, 3, size, size) on the device; the result is that of `encode`."""
        with autocast(self.device, self.precision):
            hidden: torch.Tensor = self.model(pixel_values=batch).last_hidden_state
        # (n, times * patches, d_v): the tokens are ordered by time, then by place.
        times = self.frames // self._tubelet
        by_time = hidden.float().reshape(len(hidden), times, -1, self.width).mean(2)
        return HostCopy(by_time.repeat_interleave(self._tubelet, 1))

    def encode(self, prepared: Sequence[torch.Tensor]) -> NDArray[np.float32]:
        """Vectors (n, frames, d_v) of n clips (frames, 3, size, size)."""
        return self.start(to_device(torch.stack(list(prepared)), self.device)).numpy()


def load_clip_encoder(weights: Weights, device: torch.device, *, precision: str = "fp32") -> ClipEncoder:
    """Build the encoder from its folder.

    Args:
        weights: a folder with a VideoMAE model.
        device: device of the model.
        precision: fp32, tf32, bf16 or fp16, see `autocast`; vectors are always float32.

    Raises:
        EncoderError: the folder is damaged, or lacks weights of the model.
    """
    from transformers import VideoMAEModel

    folder = weights.path
    assert folder is not None
    processor, size = load_processor(folder, lambda processor, image: process_image(processor, image)[0])
    model, report = load_pretrained(VideoMAEModel, folder, weights.name)
    if missing := sorted(report["missing_keys"]):
        raise EncoderError(f"{folder}: expected all weights of the model, got a file where {missing[0]} is missing")
    sides = {"config.json": model.config.image_size, "preprocessor_config.json": size}
    if len(set(sides.values())) > 1 or model.config.num_frames % model.config.tubelet_size:
        raise EncoderError(
            f"{folder}: expected one image size and whole tubelets, got images of {sides}, clips of "
            f"{model.config.num_frames} frames and tubelets of {model.config.tubelet_size}"
        )
    return ClipEncoder(model=model, processor=processor, size=size, device=device, precision=precision)


def reads_clips(weights: Weights) -> bool:
    """Whether the encoder reads clips of frames instead of single images."""
    folder = weights.path
    if folder is None or not folder.is_dir():
        return False
    return read_json(folder / "config.json").get("model_type") in CLIP_MODELS


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Consecutive frames of an utterance, (frames, 3, size, size), of which those at `positions` are real."""

    track: Track
    positions: list[int]
    pixels: torch.Tensor


@dataclass(kw_only=True)
class _OpenClip:
    track: Track
    number: int
    images: dict[int, torch.Tensor] = field(default_factory=dict)


class ClipBuffers:
    """Collects the frames of each utterance into clips: the first `frames` of them, the next, and so on.

    A frame without a face is replaced by the last one before it in its clip, else by the first one after it; the frames
    that an utterance lacks at its end repeat its last one.
    """

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._open: dict[int, _OpenClip] = {}

    def add(self, track: Track, position: int, image: torch.Tensor) -> Iterator[Clip]:
        """Add a frame (3, size, size); positions ascend. Yields the clip before it, if that is now complete."""
        clip = self._open.get(id(track))
        if clip is not None and clip.number != position // self._frames:
            yield self._close(clip)
            clip = None
        if clip is None:
            clip = self._open[id(track)] = _OpenClip(track=track, number=position // self._frames)
        clip.images[position] = image

    def close(self, *, ended: bool) -> Iterator[Clip]:
        """The incomplete clips; with `ended` only those of utterances without further frames."""
        for clip in [clip for clip in self._open.values() if clip.track.ended or not ended]:
            yield self._close(clip)

    def _close(self, clip: _OpenClip) -> Clip:
        del self._open[id(clip.track)]
        begin = clip.number * self._frames
        image = next(iter(clip.images.values()))
        images = [image := clip.images.get(position, image) for position in range(begin, begin + self._frames)]
        return Clip(track=clip.track, positions=list(clip.images), pixels=torch.stack(images))
