"""Models that read log-mel spectrograms: the Whisper encoder and Wav2Vec2-BERT."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...shared.timing import AUDIO_HOP_SAMPLES, SAMPLE_RATE
from ..encoders.transfer import to_device
from ..media.waveform import Wave
from .windows import FrameGrid

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MEL_SPAN, MEL_HOP = 400, 160
"""Samples of a frame of both spectrograms, and from one to the next."""

STACKED = 2
"""Frames of the spectrogram that Wav2Vec2-BERT takes as one."""


def whisper_grid(samples: int) -> FrameGrid:
    """The grid of a Whisper encoder that pads every input to so many samples.

    Its spectrogram is centred: frame i of the output belongs to sample 320 i. A frame is real if that sample is.
    """
    return FrameGrid(
        span=AUDIO_HOP_SAMPLES, partial=True, shortest=AUDIO_HOP_SAMPLES, longest=samples, padded=samples, origin=0.0
    )


STACKED_SPAN = MEL_SPAN + (STACKED - 1) * MEL_HOP
"""Samples that a frame of Wav2Vec2-BERT covers: 35 ms."""

STACKED_GRID = FrameGrid(
    rate_hz=SAMPLE_RATE / (STACKED * MEL_HOP), hop=1, span=1, shortest=1, origin=STACKED_SPAN / 2 / SAMPLE_RATE
)
"""The input of Wav2Vec2-BERT is counted in stacked frames, one hidden state each."""


class WhisperAudioModel:
    """A Whisper encoder: an `AudioModel`, whose input are the samples at 16 kHz.

    Whisper has no attention mask: it was trained on 30 s of sound, padded with silence, and hears the silence. Here
    each input is padded in the same way, and the frames of the silence are dropped. Every item of a batch is 30 s long,
    so a batch changes nothing.
    """

    def __init__(self, encoder: "PreTrainedModel", extractor: Any, device: torch.device) -> None:
        """Wrap an encoder.

        Args:
            encoder: transformers' WhisperEncoder.
            extractor: its WhisperFeatureExtractor.
            device: device of the encoder.
        """
        self.count: int = encoder.config.encoder_layers + 1
        self.width: int = encoder.config.d_model
        self.grid = whisper_grid(extractor.n_samples)
        self._extractor = extractor
        self._model = encoder.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]

    def prepare(self, wave: Wave) -> Tensor:
        """The samples (samples,), unchanged: the spectrogram is that of a window."""
        return torch.from_numpy(np.pad(wave, (0, max(0, self.grid.shortest - len(wave)))))

    def hidden_states(
        self, waves: Sequence[Tensor], device: torch.device, *, every: bool
    ) -> tuple[list[int], Sequence[Tensor]]:
        """Hidden states of waveforms (samples,) of at most 30 s; see `AudioModel`."""
        frames = [self.grid.frames(len(wave)) for wave in waves]
        # The spectrogram in float32: its dynamic range is larger than the precision of shorter formats.
        with torch.autocast(device.type, enabled=False):
            mels = self._extractor(
                [wave.numpy() for wave in waves], sampling_rate=SAMPLE_RATE, return_tensors="pt", device=str(device)
            ).input_features
        out = self._model(mels.to(device), output_hidden_states=every)
        states = (*out.hidden_states[:-1], out.last_hidden_state) if every else (out.last_hidden_state,)
        return frames, [state[:, : max(frames)] for state in states]


class StackedMelModel:
    """Wav2Vec2-BERT: an `AudioModel`, whose input are frames of a spectrogram, two stacked into one.

    The spectrogram is normalized over the whole utterance, before it is cut into windows.
    """

    grid = STACKED_GRID

    def __init__(self, model: "PreTrainedModel", extractor: Any, device: torch.device) -> None:
        """Wrap a model; `extractor` is its SeamlessM4TFeatureExtractor."""
        self.count: int = model.config.num_hidden_layers + 1
        self.width: int = model.config.hidden_size
        self._extractor = extractor
        self._model = model.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]

    def prepare(self, wave: Wave) -> Tensor:
        """The stacked frames (t_a, 160) of a waveform at 16 kHz; an odd last frame is dropped."""
        wave = np.pad(wave, (0, max(0, STACKED_SPAN - len(wave))))
        batch = self._extractor(wave, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        # The second half of an odd last frame is padding, and the mask excludes it.
        frames: Tensor = batch.input_features[0, : int(batch.attention_mask.sum())]
        return frames.float()

    def hidden_states(
        self, inputs: Sequence[Tensor], device: torch.device, *, every: bool
    ) -> tuple[list[int], Sequence[Tensor]]:
        """Hidden states of stacked frames (t_a, 160); see `AudioModel`."""
        frames = [len(stacked) for stacked in inputs]
        padded = to_device(nn.utils.rnn.pad_sequence(list(inputs), batch_first=True), device)
        mask = None
        if len(set(frames)) > 1:
            mask = to_device((torch.arange(max(frames)) < torch.tensor(frames)[:, None]).long(), device)
        out = self._model(padded, attention_mask=mask, output_hidden_states=every)
        return frames, (*out.hidden_states[:-1], out.last_hidden_state) if every else (out.last_hidden_state,)
