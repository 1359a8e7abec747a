"""Every family of text encoders: equal to a plain loop over tokenizer and model, in batches as alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, CLIPTextModel

from foal.extract.text.encoder import TextEncoder
from foal.extract.text.transcript import TextInput
from foal.tests.extract.text.small_text_models import POSITIONS, TEXTS

Load = Callable[..., TextEncoder]
INPUTS = [TextInput(text=text) for text in TEXTS]


@torch.inference_mode()
def plain_states(folder: Path, text: str) -> list[np.ndarray]:
    """All hidden states (t, d) of the tokens of one text, by transformers alone; the last one is the model's output."""
    loader: Any = CLIPTextModel if folder.name == "clip" else AutoModel
    model = loader.from_pretrained(folder).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer([text], return_tensors="pt", return_special_tokens_mask=True, padding=False, truncation=False)
    words = batch.pop("special_tokens_mask")[0] == 0
    out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True)
    return [state[0][words].numpy() for state in (*out.hidden_states[:-1], out.last_hidden_state)]


def test_every_layer_equals_that_of_transformers(family: Path, load_text: Load) -> None:
    for text in TEXTS[:3]:
        states = plain_states(family, text)
        (last,) = load_text(family).encode([TextInput(text=text)])
        assert last.values.shape == states[-1].shape
        np.testing.assert_allclose(last.values, states[-1], rtol=1e-5, atol=1e-5)
        (layers,) = load_text(family, layers="all").encode([TextInput(text=text)])
        np.testing.assert_allclose(layers.values, np.stack(states, 1), rtol=1e-5, atol=1e-5)
        (mean,) = load_text(family, layers="mean").encode([TextInput(text=text)])
        np.testing.assert_allclose(mean.values, layers.values.mean(1), atol=1e-5)
        (listed,) = load_text(family, layers=(-1, 0)).encode([TextInput(text=text)])
        np.testing.assert_allclose(listed.values, layers.values[:, [2, 0]], atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"layers": "all"}, {"pool": "mean"}])
def test_a_batch_changes_nothing(family: Path, settings: dict[str, Any], load_text: Load) -> None:
    context = tuple(TEXTS[:2])
    inputs = [*INPUTS, TextInput(text=TEXTS[3], context=context), TextInput(text=TEXTS[1], context=context, lead="A: ")]
    batched = load_text(family, batch_tokens=10_000, **settings).encode(inputs)
    for words, actual in zip(inputs, batched, strict=True):
        (expected,) = load_text(family, **settings).encode([words])
        assert actual.values.shape == expected.values.shape
        assert len(actual.values) > 0
        error = np.linalg.norm(actual.values - expected.values) / np.linalg.norm(expected.values)
        assert error <= 1e-5


def test_the_order_of_the_inputs_changes_nothing(family: Path, load_text: Load) -> None:
    forwards = load_text(family, batch_tokens=40).encode(INPUTS)
    backwards = load_text(family, batch_tokens=40).encode(INPUTS[::-1])[::-1]
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-5, atol=1e-5)


def test_only_the_tokens_of_the_utterance_are_stored_and_they_have_read_the_context(
    family: Path, load_text: Load
) -> None:
    alone, within = load_text(family).encode(
        [TextInput(text=TEXTS[3]), TextInput(text=TEXTS[3], context=(TEXTS[0], TEXTS[1]), lead="B: ")]
    )
    assert abs(len(within.values) - len(alone.values)) <= 1, "a word's first token may include the space before it"
    shorter = min(len(within.values), len(alone.values))
    assert np.abs(within.values[-shorter:] - alone.values[-shorter:]).max() > 1e-3


def test_too_long_an_utterance_loses_its_end_and_is_counted(family: Path, load_text: Load) -> None:
    long = " ".join(TEXTS * 3)
    (encoded,) = load_text(family).encode([TextInput(text=long)])
    assert (encoded.tokens, len(encoded.values)) == (POSITIONS - 2, POSITIONS - 2)
    assert encoded.cut > 0
    (crowded,) = load_text(family).encode([TextInput(text=TEXTS[0], context=(long, TEXTS[1]))])
    (alone,) = load_text(family).encode([TextInput(text=TEXTS[0])])
    assert (crowded.tokens, crowded.cut) == (alone.tokens, 0), "the context gives way, not the utterance"
