"""A model of the wav2vec2 family whose hidden states do not depend on the batch.

In transformers two parts of the family depend on the padding of a batch. "Group norm" models normalize the output of
the first convolution over time (26 to 57% error in a padded batch). The positional convolutions of data2vec-audio are
stacked, and each reads what the one before it computed from the padding.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..encoders.transfer import to_device
from ..media.waveform import Wave
from .windows import WAVEFORM_GRID, FrameGrid

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class BatchInvariantModel:
    """A frozen model whose hidden states of a waveform are those that it has for it alone, up to rounding.

    An `AudioModel`, whose input are the samples at 16 kHz.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        device: torch.device,
        *,
        normalize: bool = False,
        grid: FrameGrid = WAVEFORM_GRID,
    ) -> None:
        """Wrap a model of the family; `normalize`: give it waveforms of mean 0 and variance 1."""
        self.count: int = model.config.num_hidden_layers + 1
        self.width: int = model.config.hidden_size
        self.grid = grid
        self._normalize = normalize
        self._mask = _PaddingMask()
        norms = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.GroupNorm)]
        for name, norm in norms:
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, _MaskedGroupNorm(norm, self._mask))
        if model.config.model_type == "data2vec-audio":
            for layer in model.get_submodule("encoder.pos_conv_embed.layers").children():
                layer.register_forward_hook(self._mask.zero_padding)
        self._model = model.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]

    def prepare(self, wave: Wave) -> Tensor:
        """Samples (samples,) of a waveform at 16 kHz, normalized over the whole utterance, then padded."""
        samples = torch.from_numpy(wave)
        if self._normalize:
            # As the family's preprocessor.
            samples = (samples - samples.mean()) / torch.sqrt(samples.var(correction=0) + 1e-7)
        return nn.functional.pad(samples, (0, max(0, self.grid.shortest - len(samples))))

    def hidden_states(
        self, waves: Sequence[Tensor], device: torch.device, *, every: bool
    ) -> tuple[list[int], Sequence[Tensor]]:
        """Hidden states of waveforms (samples,) of any lengths; see `AudioModel`."""
        samples = [len(wave) for wave in waves]
        frames = [self.grid.frames(count) for count in samples]
        padded = to_device(nn.utils.rnn.pad_sequence(list(waves), batch_first=True), device)
        attention_mask = None
        if len(set(samples)) > 1:
            self._mask.samples = to_device(torch.tensor(samples), device)
            self._mask.frames = to_device(torch.tensor(frames), device)
            attention_mask = torch.arange(padded.shape[1], device=device) < self._mask.samples[:, None]
        try:
            with warnings.catch_warnings():
                # A warning of PyTorch about the two types of masks that transformers' WavLM passes to it.
                warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
                out = self._model(padded, attention_mask=attention_mask, output_hidden_states=every)
        finally:
            self._mask.samples = None
            self._mask.frames = None
        last: Tensor = out.last_hidden_state
        # hidden_states[-1] lacks the final normalization of "stable layer norm" models.
        return frames, (*out.hidden_states[:-1], last) if every else (last,)


class _PaddingMask:
    """Lengths of the waveforms of the current batch, (b,), in samples and in frames; None without padding."""

    samples: Tensor | None = None
    frames: Tensor | None = None

    def zero_padding(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Zero the padding of (b, d, t): what a convolution reads behind the end of a waveform alone."""
        if self.frames is None:
            return output
        return output * (torch.arange(output.shape[2], device=output.device) < self.frames[:, None])[:, None]


class _MaskedGroupNorm(nn.Module):
    """The group norm of the first convolution, one group per channel, over the frames that are no padding."""

    def __init__(self, norm: nn.GroupNorm, mask: _PaddingMask, *, kernel: int = 10, stride: int = 5) -> None:
        super().__init__()
        self.norm = norm
        self._mask = mask
        self._kernel = kernel
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(b, channels, t) -> the same."""
        if self._mask.samples is None:
            normed: Tensor = self.norm(x)
            return normed
        count = (self._mask.samples - self._kernel) // self._stride + 1
        inside = (torch.arange(x.shape[2], device=x.device) < count[:, None])[:, None]
        # In float32 at least: a mean over 100,000 frames has no digits left in a shorter format.
        values = x.to(torch.promote_types(x.dtype, torch.float32)) * inside
        count = count[:, None, None]
        mean = values.sum(2, keepdim=True) / count
        values = (values - mean) * inside
        scale = torch.rsqrt(values.square().sum(2, keepdim=True) / count + self.norm.eps)
        normed = values * (scale * self.norm.weight[:, None]) + self.norm.bias[:, None]
        return normed.to(x.dtype)
