"""The model card: metadata of the hub, scores, encoders and warnings."""

import json
from dataclasses import replace
from pathlib import Path

from huggingface_hub import ModelCard

from foal.predict.share.card import model_card
from foal.predict.trained import load_trained


def test_the_model_card_has_scores_encoders_and_warnings(run: Path, exported: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    card = ModelCard.load(exported / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "foal"
    assert {"emotion-recognition", "audio", "face"} <= set(card.data.tags)
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == {
        "recall": metrics["ua_mean"],
        "accuracy": metrics["wa_mean"],
        "f1": metrics["f1_mean"],
    }
    assert f"{100 * metrics['ua_mean']:.1f}" in card.text
    low, high = metrics["ua_ci95"]
    assert f"{100 * low:.1f} to {100 * high:.1f}" in card.text
    assert "loso-nested" in card.text
    assert all(f"- {warning}" in card.text for warning in metrics["warnings"])
    assert "`random:test`" in card.text


def test_a_card_without_scores_and_with_opensmile(run: Path) -> None:
    model = load_trained(run)
    made = {**model.provenance, "audio": {**model.provenance["audio"], "encoder": "opensmile:eGeMAPSv02"}}
    text = model_card(replace(model, provenance=made), None, license_id="unknown")
    card = ModelCard(text)
    assert card.data.to_dict()["license"] == "unknown"
    assert "model-index" not in card.data.to_dict()
    assert "None were stored with the networks." in text
    assert "No licence was chosen" in text
    assert "audEERING Research License" in text


def test_a_card_of_ratings_has_the_ccc_of_each_dimension(run: Path) -> None:
    rated = {"ratings": {"dimensions": {"valence": {"ccc_mean": 0.5, "ccc_ci95": [0.25, 0.75]}}}, "warnings": []}
    text = model_card(load_trained(run), rated, license_id="mit")
    assert "| CCC valence | 0.500 | 0.250 to 0.750 |" in text
