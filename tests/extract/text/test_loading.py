"""Loading text encoders: random weights, and folders that do not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel, Wav2Vec2Config

from foal.extract.encoders.weights import find_text_weights
from foal.extract.text.encoder import TextEncoder
from foal.extract.text.loading import load_text_encoder
from foal.extract.text.transcript import TextInput
from foal.shared.errors import EncoderError
from foal.tests.extract.text.small_text_models import BLOCKS, make_sentence_encoder, save_text_model

Load = Callable[..., TextEncoder]
WORDS = [TextInput(text="why")]


def test_random_weights_depend_on_the_seed_alone() -> None:
    values: list[np.ndarray] = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(values))
        encoder = load_text_encoder(find_text_weights("random:tiny", "main", seed), torch.device("cpu"))
        values.append(encoder.encode(WORDS)[0].values)
    assert values[0].shape == (3, 64)
    np.testing.assert_array_equal(values[0], values[1])
    assert np.abs(values[0] - values[2]).max() > 0.1


def test_a_checkpoint_of_a_language_model_is_read_without_its_head(bert: Path, tmp_path: Path, load_text: Load) -> None:
    folder = shutil.copytree(bert, tmp_path / "masked")
    torch.manual_seed(3)
    BertForMaskedLM(BertConfig(**BLOCKS)).save_pretrained(folder)
    assert load_text(folder).encode(WORDS)[0].values.shape == load_text(bert).encode(WORDS)[0].values.shape


def test_what_does_not_fit_is_refused(bert: Path, tmp_path: Path, load_text: Load) -> None:
    folder = shutil.copytree(bert, tmp_path / "small")
    BertModel(BertConfig(**{**BLOCKS, "vocab_size": 100})).save_pretrained(folder)
    with pytest.raises(EncoderError, match="expected a tokenizer of at most 100 tokens, as the model has"):
        load_text(folder)

    folder = shutil.copytree(bert, tmp_path / "other")
    (folder / "config.json").write_text(json.dumps(Wav2Vec2Config().to_dict()))
    with pytest.raises(EncoderError, match="expected a model of type bert, roberta"):
        load_text(folder)

    folder = shutil.copytree(bert, tmp_path / "deeper")
    BertConfig(**{**BLOCKS, "num_hidden_layers": 3}).save_pretrained(folder)
    with pytest.raises(EncoderError, match=r"of a bert model are missing in its file, such as encoder\.layer\.2"):
        load_text(folder)

    with pytest.raises(EncoderError, match=r"has 2 layers: expected numbers from 0 .* to 2 in extract\.text\.layers"):
        load_text(bert, layers=(3,))
    with pytest.raises(EncoderError, match="unknown encoder 'random:big': expected random:tiny"):
        load_text("random:big")


def test_poolings_that_a_model_lacks_are_refused(bert: Path, tmp_path: Path, load_text: Load) -> None:
    with pytest.raises(EncoderError, match=r"pool: sentence needs 1_Pooling/config\.json .*, got none; use pool: mean"):
        load_text(bert, pool="sentence")
    folder = make_sentence_encoder(shutil.copytree(bert, tmp_path / "last"), "pooling_mode_lasttoken")
    with pytest.raises(EncoderError, match="got pooling_mode_lasttoken"):
        load_text(folder, pool="sentence")
    folder = make_sentence_encoder(shutil.copytree(bert, tmp_path / "dense"), "pooling_mode_mean_tokens", "Dense")
    with pytest.raises(EncoderError, match="but the model also has Dense"):
        load_text(folder, pool="sentence")
    with pytest.raises(EncoderError, match="has no classification token: use"):
        load_text(save_text_model(tmp_path / "clip", "clip"), pool="cls")
