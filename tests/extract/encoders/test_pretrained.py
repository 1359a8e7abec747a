"""Frozen models loaded from folders: in float32, without an effect on the random state, with one-line errors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from foal.extract.encoders.pretrained import first_line, load_pretrained
from foal.shared.errors import EncoderError

CONFIG = BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, dtype="float16"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    BertModel(CONFIG).half().save_pretrained(tmp_path)
    return tmp_path


def test_a_half_precision_checkpoint_is_loaded_in_float32(folder: Path) -> None:
    model, report = load_pretrained(BertModel, folder, "bert")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not report["missing_keys"]


def test_missing_weights_are_reported_and_do_not_change_the_random_state(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    del weights["pooler.dense.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    before = torch.get_rng_state()
    _, report = load_pretrained(BertModel, folder, "bert")
    assert set(report["missing_keys"]) == {"pooler.dense.weight"}
    assert torch.equal(torch.get_rng_state(), before)


def test_damaged_weights_are_an_error_of_one_line(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(EncoderError, match=r"^bert: the weights cannot be loaded \(.+\)$"):
        load_pretrained(BertModel, folder, "bert")


def test_an_empty_message_is_replaced_by_the_type() -> None:
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError("")) == "ValueError"
