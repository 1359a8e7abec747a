"""Exported models: their files, and the same predictions as those of the run."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from huggingface_hub import ModelCard
from typer.testing import CliRunner

import foal
from foal.predict.share.cli import export
from foal.predict.share.folder import export_model
from foal.predict.trained import load_trained
from foal.shared.errors import UsageError
from foal.tests.predict.small_run import FILES, probabilities


def test_an_export_predicts_as_its_run_without_the_training_data(run: Path, exported: Path, tmp_path: Path) -> None:
    assert {path.name for path in exported.iterdir()} == FILES
    new = run.parent / "new" / "feats.h5"
    np.testing.assert_array_equal(probabilities(exported, new), probabilities(run, new))
    np.testing.assert_array_equal(probabilities(exported, new, fold=2), probabilities(run, new, fold=2))
    moved = exported.rename(tmp_path / "moved")
    np.testing.assert_array_equal(foal.load(moved).predict_features(new).probabilities, probabilities(run, new))
    moved.rename(exported)
    model, original = load_trained(exported), load_trained(run)
    for name in ("name", "classes", "ratings", "streams", "provenance", "settings", "scores"):
        assert getattr(model, name) == getattr(original, name)


def test_a_final_model_is_exported_without_a_score_of_its_own(run: Path, tmp_path: Path) -> None:
    export_model(load_trained(run, final=True), tmp_path / "final")
    new = run.parent / "new" / "feats.h5"
    model = load_trained(tmp_path / "final")
    assert (model.is_final, model.scores, len(model.networks)) == (True, None, 2)
    np.testing.assert_array_equal(probabilities(tmp_path / "final", new), probabilities(run, new, final=True))
    np.testing.assert_array_equal(
        probabilities(tmp_path / "final", new, final=True), probabilities(run, new, final=True)
    )
    single = load_trained(run / "models" / "final-seed1")
    assert (single.is_final, single.scores, single.name) == (True, None, "run/final-seed1")
    card = ModelCard.load(tmp_path / "final" / "README.md")
    assert "No score belongs to this model" in card.text
    assert card.data.eval_results is None


def test_preprocessing_describes_the_inputs(exported: Path) -> None:
    described = json.loads((exported / "preprocessing.json").read_text(encoding="utf-8"))
    audio = described["inputs"]["audio"]
    assert (audio["encoder"], audio["rate_hz"], audio["config"], audio["frame_shape"]) == (
        "random:test",
        10.0,
        {"width": 8},
        [8],
    )
    assert audio["config_hash"] == "0" * 64
    assert described["normalization"]["statistics"] == "fold"


def test_an_existing_folder_is_kept_unless_forced(run: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(export)

    def call(*arguments: str) -> BaseException | None:
        return CliRunner().invoke(app, [str(run), "--out", str(tmp_path / "out"), *arguments]).exception

    assert call("--fold", "1") is None
    (tmp_path / "out" / ".gitattributes").write_text("kept", encoding="utf-8")
    assert isinstance(error := call(), UsageError)
    assert "an exported model exists" in str(error)
    assert len(load_trained(tmp_path / "out").networks) == 2
    assert call("--force") is None
    assert len(load_trained(tmp_path / "out").networks) == 6
    assert (tmp_path / "out" / ".gitattributes").read_text(encoding="utf-8") == "kept"
    assert isinstance(call("--final", "--fold", "1"), UsageError)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="is no folder of `foal export`"):
        export_model(load_trained(run), other, force=True)
