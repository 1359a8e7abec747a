"""Voice activity detection with Silero VAD: where a recording contains speech.

The weights are those of the package silero-vad (MIT licence, https://github.com/snakers4/silero-vad), 1.2 MB as
safetensors. The network is built here: the package loads it as TorchScript or ONNX, and sets the process' threads.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from ...extract.media.waveform import Wave
from ...shared.errors import UsageError
from ...shared.timing import SAMPLE_RATE, Seconds

PACKAGE = "silero_vad"
WEIGHTS = "silero_vad_16k.safetensors"

STEP_SAMPLES = 512
CONTEXT_SAMPLES = 64
PADDING_SAMPLES = 64
"""A probability for each step of 32 ms; the network also reads the end of the step before, and its own end mirrored."""

SPEECH, SILENCE = 0.5, 0.35
"""Speech begins at the first probability, and ends below the second one (defaults of silero-vad)."""

MIN_SPEECH: Seconds = 0.25
MIN_SILENCE: Seconds = 0.3
"""Shorter stretches of speech are dropped; shorter pauses do not end an utterance."""

PAD: Seconds = 0.1
"""Added before and after each stretch, within half of the pause."""


class SileroVad(nn.Module):
    """The network of Silero VAD 6 at 16 kHz: spectrum, four convolutions, an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, kernel_size=256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, kernel_size=3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, kernel_size=3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, kernel_size=3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, kernel_size=1)

    def forward(self, wave: Tensor) -> Tensor:
        """Probability of speech in each step: (samples,) at 16 kHz -> (steps,)."""
        steps = -(-len(wave) // STEP_SAMPLES)
        padded = nn.functional.pad(wave, (CONTEXT_SAMPLES, steps * STEP_SAMPLES - len(wave)))
        pieces = padded.unfold(0, CONTEXT_SAMPLES + STEP_SAMPLES, STEP_SAMPLES)  # (steps, samples)
        # All steps at once; only the LSTM needs the one before.
        spectrum = self.stft_conv(nn.functional.pad(pieces[:, None], (0, PADDING_SAMPLES), mode="reflect"))
        features = (spectrum[:, :129].square() + spectrum[:, 129:].square()).sqrt()
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4):
            features = convolution(features).relu()
        state: tuple[Tensor, Tensor] | None = None
        hidden = []
        for step in features.squeeze(-1):
            state = self.lstm_cell(step[None], state)
            hidden.append(state[0])
        outputs: Tensor = self.final_conv(torch.cat(hidden)[..., None].relu())
        return outputs.sigmoid().flatten()


@cache
def load_vad() -> SileroVad:
    """The network with the weights of the installed package. Raises UsageError if it is not installed."""
    found = find_spec(PACKAGE)
    weights = Path(found.origin).parent / "data" / WEIGHTS if found and found.origin else None
    if weights is None or not weights.is_file():
        raise UsageError(
            "--segments vad needs the package silero-vad 6.2 or later; install it with `pip install silero-vad`, or "
            "use --segments fixed"
        )
    model = SileroVad()
    model.load_state_dict(load_file(weights))
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def speech_probabilities(wave: Wave) -> NDArray[np.float32]:
    """Probability of speech in each step of 32 ms, (steps,), of a waveform (samples,) at 16 kHz."""
    if not len(wave):
        return np.zeros(0, np.float32)
    probabilities: NDArray[np.float32] = load_vad()(torch.from_numpy(wave)).numpy()
    return probabilities


def speech_segments(probabilities: NDArray[np.float32], seconds: Seconds) -> list[tuple[Seconds, Seconds]]:
    """Start and end of each stretch of speech, in seconds.

    Args:
        probabilities: of each step of 32 ms, (steps,).
        seconds: length of the recording.
    """
    step = STEP_SAMPLES / SAMPLE_RATE
    found: list[tuple[Seconds, Seconds]] = []
    began: Seconds | None = None
    for number, probability in enumerate(probabilities):
        if began is None and probability >= SPEECH:
            began = number * step
        elif began is not None and probability < SILENCE:
            found.append((began, number * step))
            began = None
    if began is not None:
        found.append((began, seconds))
    joined: list[tuple[Seconds, Seconds]] = []
    for start, end in found:
        if joined and start - joined[-1][1] < MIN_SILENCE:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return _padded([(start, end) for start, end in joined if end - start >= MIN_SPEECH], seconds)


def _padded(segments: list[tuple[Seconds, Seconds]], seconds: Seconds) -> list[tuple[Seconds, Seconds]]:
    """The segments with PAD on both sides; of a short pause each side gets half."""
    edges = [0.0, *(time for segment in segments for time in segment), seconds]
    result = []
    for number, (start, end) in enumerate(segments):
        before, after = start - edges[2 * number], edges[2 * number + 3] - end
        before = before if number == 0 else before / 2
        after = after if number == len(segments) - 1 else after / 2
        result.append((max(0.0, start - min(PAD, before)), min(seconds, end + min(PAD, after))))
    return result
