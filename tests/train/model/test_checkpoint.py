import json
from pathlib import Path

import pytest
import torch

from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import StoreError
from foal.tests.train.quick_run import read_csv, settings
from foal.train.data.dataset import open_dataset
from foal.train.fit.predict import predict
from foal.train.model.checkpoint import load_model
from foal.train.run import train


def test_a_saved_model_reproduces_the_predictions_of_the_run(feats: Path, tmp_path: Path) -> None:
    train(settings(), feats, tmp_path / "run")
    model, config = load_model(tmp_path / "run" / "models" / "seed0-fold2")
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "run" / "models" / "seed0-fold2").iterdir()}
    (tmp_path / "any").touch()
    assert modes == {(tmp_path / "any").stat().st_mode & 0o777}  # as the umask allows
    assert config["classes"] == ["hap", "sad"]
    assert config["score"]["test"] == "session2"
    assert config["provenance"]["audio"]["encoder"] == "random:test"
    with open_dataset(feats, TrainSettings(**config["settings"]), classes=config["classes"]) as data:
        assert config["features"] == data.digest
        rows = [row for row, utterance in enumerate(data.utterances) if utterance.session == "session2"]
        actual = predict(model, data, torch.tensor(rows), batch_size=4, device=torch.device("cpu"))[:, 1]
    expected = {row["id"]: float(row["p_sad"]) for row in read_csv(tmp_path / "run" / "predictions.csv")}
    assert actual.tolist() == pytest.approx([expected[data.ids[row]] for row in rows], abs=1e-5)


def test_corrupt_or_other_models_raise_store_errors(feats: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"config\.json: no such file"):
        load_model(tmp_path)
    train(settings(epochs=1), feats, tmp_path / "run")
    folder = tmp_path / "run" / "models" / "seed0-fold1"
    config = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"format": "other"}, "expected a folder of format foal-model, got 'other'"),
        ({"version": 99}, "expected model version 4, got 99; update foal"),
        ({"architecture": {**config["architecture"], "width": 32}}, "corrupt model"),
        ({"architecture": None}, "corrupt model"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(StoreError, match=message):
            load_model(folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(StoreError, match="corrupt model"):
        load_model(folder)
