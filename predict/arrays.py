"""A clip that is given as arrays, written to a temporary file without loss, so that it is read as any other clip."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ..shared.errors import UsageError


def write_clip(
    folder: Path,
    waveform: NDArray[Any] | None,
    sample_rate_hz: int | None,
    frames: NDArray[np.uint8] | None,
    fps: float | None,
) -> Path:
    """Write sound (float32 PCM) and pictures (FFV1, RGB) into a Matroska file.

    Args:
        folder: an existing folder.
        waveform: (samples,) or (samples, channels), floats from -1 to 1 or integers (None: no sound).
        sample_rate_hz: sampling rate of the waveform.
        frames: (n, height, width, 3) uint8 RGB (None: no pictures).
        fps: pictures per second.

    Raises:
        UsageError: an array of another shape or type, or one without its rate.
    """
    path = folder / "clip.mkv"
    with av.open(str(path), "w") as container:
        video = None if frames is None else _video_stream(container, frames, fps)
        audio = None if waveform is None else _audio_stream(container, waveform, sample_rate_hz)
        if video is not None and frames is not None:
            for number, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(
                    format="bgr0"
                )
                frame.pts, frame.time_base = number, video.time_base
                container.mux(video.encode(frame))
            container.mux(video.encode())
        if audio is not None and waveform is not None and sample_rate_hz is not None:
            _write_sound(container, audio, _as_float(waveform), sample_rate_hz)
    return path


def _video_stream(container: Any, frames: NDArray[np.uint8], fps: float | None) -> Any:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise UsageError(
            f"frames: expected (n, height, width, 3) of uint8 in RGB, got {frames.shape} of {frames.dtype}"
        )
    if not fps or fps <= 0:
        raise UsageError(f"fps: expected the pictures per second of `frames`, got {fps}")
    rate = Fraction(fps).limit_denominator(100_000)
    stream = container.add_stream("ffv1", rate=rate)
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = "bgr0"
    stream.time_base = 1 / rate
    return stream


def _audio_stream(container: Any, waveform: NDArray[Any], sample_rate_hz: int | None) -> Any:
    if waveform.ndim not in (1, 2) or not len(waveform) or (waveform.ndim == 2 and waveform.shape[1] > 8):
        raise UsageError(f"waveform: expected (samples,) or (samples, channels), got {waveform.shape}")
    if not sample_rate_hz or sample_rate_hz <= 0:
        raise UsageError(f"sample_rate_hz: expected the sampling rate of `waveform`, got {sample_rate_hz}")
    channels = 1 if waveform.ndim == 1 else waveform.shape[1]
    stream = container.add_stream("pcm_f32le", rate=sample_rate_hz)
    stream.layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")
    return stream


def _as_float(waveform: NDArray[Any]) -> NDArray[np.float32]:
    """Samples (n, channels) from -1 to 1; integers are divided by the range of their type."""
    samples = waveform[:, None] if waveform.ndim == 1 else waveform
    if np.issubdtype(samples.dtype, np.signedinteger):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    if not np.issubdtype(samples.dtype, np.floating):
        raise UsageError(f"waveform: expected floats from -1 to 1 or signed integers, got {samples.dtype}")
    return samples.astype(np.float32)


def _write_sound(container: Any, stream: Any, samples: NDArray[np.float32], sample_rate_hz: int) -> None:
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples.reshape(1, -1)), format="flt", layout=stream.layout.name
    )
    frame.sample_rate, frame.pts, frame.time_base = sample_rate_hz, 0, Fraction(1, sample_rate_hz)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
