"""A model of the wav2vec2 family whose hidden states do not change when a wave is padded beside longer ones.

Two things in the family look at the padding, and both are mended here. "Group norm" models normalise the first
convolution over time (26 to 57% off in a padded batch), and data2vec-audio's positional convolutions stand one behind
the other, each of which carries what the one before it made of the padding.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...shared.timing import audio_frames


class PaddedModel:
    """A frozen model, in batches of any lengths: what comes out for a wave is what comes out for it alone."""

    def __init__(self, model: PreTrainedModel, device: torch.device) -> None:
        self.count: int = model.config.num_hidden_layers + 1
        self._valid = _Valid()
        for name, norm in [(name, part) for name, part in model.named_modules() if isinstance(part, nn.GroupNorm)]:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, _TimeNorm(norm, self._valid))
        if model.config.model_type == "data2vec-audio":
            for layer in model.get_submodule("encoder.pos_conv_embed.layers").children():
                layer.register_forward_hook(self._valid.silence)
        self._model = model.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]

    def hidden_states(
        self, waves: Sequence[Tensor], device: torch.device, *, every: bool
    ) -> tuple[list[int], Sequence[Tensor]]:
        """Frames of each wave, and the hidden states (b, t, d): of every layer, what enters the first one before them,
        or of the last layer alone.
        """
        samples = [len(wave) for wave in waves]
        frames = [audio_frames(count) for count in samples]
        padded = nn.utils.rnn.pad_sequence(list(waves), batch_first=True).to(device)
        mask = None
        if len(set(samples)) > 1:
            self._valid.samples = torch.tensor(samples, device=device)
            self._valid.frames = torch.tensor(frames, device=device)
            mask = torch.arange(padded.shape[1], device=device) < self._valid.samples[:, None]
        try:
            with warnings.catch_warnings():
                # PyTorch about the two kinds of masks that transformers' WavLM hands to it.
                warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
                out = self._model(padded, attention_mask=mask, output_hidden_states=every)
        finally:
            self._valid.samples = self._valid.frames = None
        last: Tensor = out.last_hidden_state
        # The last layer's own output lacks the final normalisation where a model has one ("stable layer norm").
        return frames, (*out.hidden_states[:-1], last) if every else (last,)


class _Valid:
    """How much of each wave of the batch is no padding; None: all of it."""

    samples: Tensor | None = None
    frames: Tensor | None = None

    def silence(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Zero (b, d, t) in the padding, as what a convolution finds beyond the end of a wave alone."""
        if self.frames is None:
            return output
        return output * (torch.arange(output.shape[2], device=output.device) < self.frames[:, None])[:, None]


class _TimeNorm(nn.Module):
    """The group norm of the first convolution, one group per channel, over the frames of the wave alone."""

    def __init__(self, norm: nn.GroupNorm, valid: _Valid, *, kernel: int = 10, stride: int = 5) -> None:
        super().__init__()
        self.norm, self._valid, self._kernel, self._stride = norm, valid, kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(b, channels, t) -> the same."""
        if self._valid.samples is None:
            normed: Tensor = self.norm(x)
            return normed
        count = (self._valid.samples - self._kernel) // self._stride + 1
        inside = (torch.arange(x.shape[2], device=x.device) < count[:, None])[:, None]
        # In float32 at least: a mean over 100,000 frames has no digits left in anything shorter.
        values, count = x.to(torch.promote_types(x.dtype, torch.float32)) * inside, count[:, None, None]
        mean = values.sum(2, keepdim=True) / count
        values = (values - mean) * inside
        scale = torch.rsqrt(values.square().sum(2, keepdim=True) / count + self.norm.eps)
        normed = values * (scale * self.norm.weight[:, None]) + self.norm.bias[:, None]
        return normed.to(x.dtype)
