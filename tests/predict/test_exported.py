"""Networks in one file of weights, and exports that cannot be read."""

import json
from pathlib import Path

import pytest
import torch

from foal.predict.exported import is_exported, read_networks, write_networks
from foal.predict.share.folder import export_model
from foal.predict.trained import load_trained
from foal.shared.errors import StoreError
from foal.shared.utterance import Utterance
from foal.tests.predict.small_run import FILES, MakeFeatures, index_of, run_of


@pytest.fixture
def exported(tmp_path: Path, sample_utterances: list[Utterance], make_features: MakeFeatures) -> Path:
    """The export of a run of one seed."""
    run = run_of(tmp_path / "run", index_of(tmp_path, sample_utterances, make_features), seeds=(0,), epochs=1)
    export_model(load_trained(run), tmp_path / "exported")
    return tmp_path / "exported"


def test_networks_and_their_descriptions_are_read_back(exported: Path, tmp_path: Path) -> None:
    networks = load_trained(tmp_path / "run").networks
    (tmp_path / "again").mkdir()
    assert not is_exported(tmp_path / "again")
    write_networks(tmp_path / "again", "a name", networks)
    assert is_exported(tmp_path / "again")
    name, read = read_networks(tmp_path / "again")
    assert name == "a name"
    assert [(member.seed, member.fold, member.test) for member in read] == [
        (member.seed, member.fold, member.test) for member in networks
    ]
    for member, original in zip(read, networks, strict=True):
        stored = {key: value for key, value in original.metadata.items() if key not in ("format", "version")}
        assert dict(member.metadata) == stored
        weights = original.model.state_dict()
        assert all(torch.equal(value, weights[key]) for key, value in member.model.state_dict().items())


def test_what_an_export_does_not_contain_is_named(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a final model, got one of folds"):
        load_trained(exported, final=True)
    with pytest.raises(StoreError, match="expected networks of fold 9, got only 1, 2, 3"):
        load_trained(exported, fold=9)
    tmp_path = tmp_path / "copy"
    tmp_path.mkdir()
    for name in FILES:
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(StoreError, match="corrupt model"):
        load_trained(tmp_path)
    config = json.loads((exported / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "version": 99}), encoding="utf-8")
    with pytest.raises(StoreError, match="expected an export of version 1, got 99; update foal"):
        load_trained(tmp_path)
