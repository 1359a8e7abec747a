"""Text encoders: frozen models, whose result for an utterance does not depend on its batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..encoders.inference import autocast, select_layers, split_on_oom
from ..encoders.layers import Layers, layer_shape
from ..encoders.transfer import to_device
from .tokens import Tokenizer, Tokens
from .transcript import TextInput


@dataclass(frozen=True, kw_only=True)
class EncodedText:
    """Features of an utterance's words.

    Attributes:
        values: (t_l, [layers,] d_l), one row per token, or one row (no row without tokens).
        tokens: number of the words' tokens that the model read.
        unknown: number of them that replace words outside of the vocabulary.
        cut: number of tokens that it could not read.
    """

    values: NDArray[np.float32]
    tokens: int
    unknown: int
    cut: int


class TextEncoder:
    """A frozen model with its tokenizer: words in, hidden states out.

    Batches are padded on the right and masked, whatever the tokenizer declares: padded on the left, most families
    number the positions of the words wrongly.

    Attributes:
        frame_shape: shape of one row of the features, ([layers,] d_l).
        rows_per_token: 1, or 0 where an utterance has one row.
        batch_tokens: tokens per batch, including padding.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        tokenizer: Tokenizer,
        layers: Layers,
        pool: str,
        device: torch.device,
        precision: str = "fp32",
        batch_tokens: int = 2048,
    ) -> None:
        """Wrap a model.

        Args:
            model: a text model of transformers.
            tokenizer: its tokenizer.
            layers: hidden states to return.
            pool: tokens; mean of the stored tokens; first (the first token); or, over all tokens of the input and of
                unit length, sentence-cls, sentence-mean or sentence-max.
            device: device of the model.
            precision: fp32, tf32, bf16 or fp16, see `autocast`.
            batch_tokens: tokens per batch, including padding; a single utterance may have more.
        """
        config: Any = model.config
        self.frame_shape: tuple[int, ...] = (*layer_shape(layers, config.num_hidden_layers + 1), config.hidden_size)
        self.rows_per_token = int(pool == "tokens")
        self.batch_tokens = batch_tokens
        self._model = model.to(device).eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._layers = layers
        self._pool = pool
        self._device = device
        self._precision = precision
        # Models with one segment, or none, number it 0.
        self._segments = (getattr(config, "type_vocab_size", None) or 0) > 1

    @torch.inference_mode()
    def encode(self, inputs: Sequence[TextInput]) -> list[EncodedText]:
        """Encode inputs, in their order.

        Raises:
            MediaError: the device's memory is too small for a single input.
        """
        tokens = [self._tokenizer(words) for words in inputs]
        values: dict[int, NDArray[np.float32]] = {}
        for batch in self._batches(tokens):
            rows = split_on_oom(
                lambda numbers: self._forward([tokens[number] for number in numbers]),
                batch,
                remedy="lower extract.text.context",
            )
            values.update(zip(batch, rows, strict=True))
        return [
            EncodedText(values=values[number], tokens=sum(item.stored), unknown=item.unknown, cut=item.cut)
            for number, item in enumerate(tokens)
        ]

    def _batches(self, tokens: Sequence[Tokens]) -> list[list[int]]:
        """Numbers of the inputs of each batch, of similar length, so that little is padded."""
        batches: list[list[int]] = []
        longest = 0
        for number in sorted(range(len(tokens)), key=lambda number: -len(tokens[number].ids)):
            # The first of a batch is the longest, to which the others are padded.
            if batches and (len(batches[-1]) + 1) * longest <= self.batch_tokens:
                batches[-1].append(number)
            else:
                batches.append([number])
                longest = len(tokens[number].ids)
        return batches

    def _forward(self, batch: Sequence[Tokens]) -> list[NDArray[np.float32]]:
        lengths = to_device(torch.tensor([len(item.ids) for item in batch]), self._device)
        # Any id serves as padding: it is masked, and stands behind the words.
        ids = _padded([item.ids for item in batch], self._pad_id(), self._device)
        mask = torch.arange(ids.shape[1], device=self._device) < lengths[:, None]
        options: dict[str, Tensor] = {}
        if self._segments:
            options["token_type_ids"] = _padded([item.segments for item in batch], 0, self._device)
        every = self._layers != "last"
        with autocast(self._device, self._precision):
            out = self._model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=every, **options)
            # The last of the hidden states lacks the final normalization of some families.
            states = (*out.hidden_states[:-1], out.last_hidden_state) if every else (out.last_hidden_state,)
            selected = select_layers(states, self._layers).float().cpu()
        return [
            self._pooled(hidden[: len(item.ids)], torch.tensor(item.stored)).numpy()
            for hidden, item in zip(selected, batch, strict=True)
        ]

    def _pooled(self, hidden: Tensor, stored: Tensor) -> Tensor:
        """(tokens, [layers,] d_l) -> (t_l, [layers,] d_l)."""
        words = hidden[stored]
        if self._pool == "tokens" or not len(words):
            return words
        if self._pool == "mean":
            return words.mean(0, keepdim=True)
        if self._pool == "first":
            return hidden[:1]
        vector = {"cls": hidden[0], "mean": hidden.mean(0), "max": hidden.amax(0)}[self._pool.partition("-")[2]]
        return nn.functional.normalize(vector, dim=-1)[None]

    def _pad_id(self) -> int:
        config: Any = self._model.config
        return getattr(config, "pad_token_id", None) or 0


def _padded(rows: Sequence[Sequence[int]], value: int, device: torch.device) -> Tensor:
    """Rows of different lengths as a matrix (b, t_l), filled up on the right."""
    tensors = [torch.tensor(row) for row in rows]
    padded = nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value, padding_side="right")
    return to_device(padded, device)
