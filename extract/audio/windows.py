"""Which part of an encoder's input each of its hidden states covers, and windows over long inputs."""

from dataclasses import dataclass
from itertools import pairwise

from ...shared.timing import AUDIO_FRAME_SAMPLES, AUDIO_HOP_SAMPLES, AUDIO_ORIGIN, SAMPLE_RATE, Seconds


@dataclass(frozen=True, kw_only=True)
class FrameGrid:
    """Positions (samples, or frames of a spectrogram) that the frames of an audio encoder cover.

    Attributes:
        rate_hz: positions per second.
        hop: positions from one frame to the next.
        span: positions that one frame covers.
        partial: a last frame counts if only its first position exists; the rest of it is silence.
        shortest: shortest input; shorter ones are padded with silence.
        longest: longest input of the model; None without a limit.
        padded: positions to which the model pads every input; None if it does not.
        origin: centre of the first frame, relative to the start of the audio.
    """

    rate_hz: float = SAMPLE_RATE
    hop: int = AUDIO_HOP_SAMPLES
    span: int = AUDIO_FRAME_SAMPLES
    partial: bool = False
    shortest: int = AUDIO_FRAME_SAMPLES
    longest: int | None = None
    padded: int | None = None
    origin: Seconds = AUDIO_ORIGIN

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.rate_hz / self.hop

    @property
    def shortest_samples(self) -> int:
        """Samples at 16 kHz of the shortest waveform that needs no padding."""
        return round(self.shortest * SAMPLE_RATE / self.rate_hz)

    def frames(self, positions: int) -> int:
        """Number of frames of an input; of a short one after padding."""
        needed = 1 if self.partial else self.span
        return (max(positions, self.shortest) - needed) // self.hop + 1

    def positions(self, first: int, last: int) -> tuple[int, int]:
        """The positions start:stop that the frames first:last cover."""
        return first * self.hop, (last - 1) * self.hop + self.span


WAVEFORM_GRID = FrameGrid()
"""Of the wav2vec2 family: a frame of 25 ms every 20 ms."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Positions start:stop of an input are encoded, and frames first:last of the result are kept."""

    start: int
    stop: int
    first: int
    last: int


def cut_windows(positions: int, max_positions: int, grid: FrameGrid = WAVEFORM_GRID) -> list[Window]:
    """Cut an input into windows of at most `max_positions`; into a single one if it is not longer.

    The kept frames follow each other without gap or overlap. On either side of them a sixth of the window is context
    that is not kept, except at the ends of the input.
    """
    frames = grid.frames(positions)
    if positions <= max_positions:
        return [Window(start=0, stop=positions, first=0, last=frames)]
    per_window = grid.frames(max_positions)
    context = per_window // 6
    hop = per_window - 2 * context
    cuts = [0, *range(context + hop, frames - context, hop), frames]
    windows = []
    for first, last in pairwise(cuts):
        # The last window is as long as the others: it begins earlier instead.
        begin = max(0, min(first - context, frames - per_window))
        start, end = grid.positions(begin, begin + per_window)
        stop = positions if last == frames else end
        windows.append(Window(start=start, stop=stop, first=first - begin, last=last - begin))
    return windows
