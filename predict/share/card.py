"""The model card of an exported model: README.md with metadata for the hub."""

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from ...shared.config.settings import modality_of
from ...train.report.formatting import interval_text, percent, table_row
from ..trained import TrainedModel

UNKNOWN_LICENSE = "unknown"
SCORES = {"ua": ("UA (unweighted accuracy)", "recall"), "wa": ("WA (accuracy)", "accuracy"), "f1": ("macro F1", "f1")}
"""Name of each score in the table, and its type on the hub."""


def model_card(model: TrainedModel, scores: Mapping[str, Any] | None, *, license_id: str) -> str:
    """The text of README.md.

    Args:
        model: the model.
        scores: metrics.json of its run; those of a final model belong to the networks of the folds.
        license_id: identifier of the licence, as on the hub.
    """
    corpora = ", ".join(name or "without a name" for name in model.metadata["groups"]["corpora"])
    parts = [
        f"---\n{_front_matter(model, scores, corpora, license_id)}\n---",
        f"# {model.name}",
        _summary(model),
        "## Data and protocol",
        f"{model.metadata['n']} utterances were tested of the corpus: {corpora}. Protocol: "
        f"{model.metadata['protocol']}; hash of the features: `{model.metadata['features']}`.",
        "## Scores",
        *_scores(model, scores),
        "## Encoders",
        "The networks read features of these encoders, which are not part of this folder. `preprocessing.json` has "
        "their complete configuration.",
        _encoders(model),
        *_encoder_licenses(model),
        *(["## Warnings", "\n".join(f"- {text}" for text in warnings)] if (warnings := _warnings(scores)) else []),
        "## Use",
        "With features of the same encoders (`foal extract`), labels are not needed:",
        '```python\nimport foal\n\nmodel = foal.load("FOLDER")  # or foal.FoalModel.from_pretrained("USER/NAME")\n'
        'predicted = model.predict_features("feats.h5")\nprint(predicted.ids, predicted.probabilities)\n```',
        f"## Licence\n\n{_license(license_id)}",
        f"Trained with {model.metadata['versions']}.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(model: TrainedModel, scores: Mapping[str, Any] | None, corpora: str, license_id: str) -> str:
    modalities = list(dict.fromkeys(map(modality_of, model.streams)))
    results = []
    if scores is not None and not model.is_final and "ua_mean" in scores:
        results = [
            EvalResult(
                task_type="emotion-recognition",
                dataset_type="-".join(model.metadata["groups"]["corpora"]) or "unknown",
                dataset_name=f"{corpora} ({scores['protocol']})",
                metric_type=kind,
                metric_name=name,
                metric_value=scores[f"{score}_mean"],
            )
            for score, (name, kind) in SCORES.items()
        ]
    data = ModelCardData(
        license=license_id,
        library_name="foal",
        tags=["emotion-recognition", "foal", *modalities],
        metrics=[kind for _, kind in SCORES.values()] if model.classes else None,
        model_name=model.name if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml()).strip()


def _summary(model: TrainedModel) -> str:
    targets = [f"the classes {', '.join(model.classes)}"] if model.classes else []
    targets += [f"ratings of {', '.join(model.ratings)}"] if model.ratings else []
    count = len(model.networks)
    networks = "one network" if count == 1 else f"{count} networks whose predictions are averaged"
    kind = "trained on all utterances of the run" if model.is_final else "trained in cross-validation"
    return (
        f"Emotion recognition from {', '.join(model.streams)} features: predicts {' and '.join(targets)}. The model is "
        f"{networks}, {kind}; head: {model.settings.fusion}."
    )


def _scores(model: TrainedModel, scores: Mapping[str, Any] | None) -> list[str]:
    if scores is None:
        return ["None were stored with the networks."]
    note = (
        "No score belongs to this model: it was trained on all utterances. These are the scores of the networks of the "
        "folds, which were trained with the same settings."
        if model.is_final
        else "Each utterance was scored by networks that were not trained on its group. 95% intervals are by speaker."
    )
    rows: list[tuple[str, str, str]] = []
    if "ua_mean" in scores:
        rows = [
            (name, percent(scores[f"{score}_mean"]), interval_text(scores.get(f"{score}_ci95")))
            for score, (name, _) in SCORES.items()
        ]
    for name, values in scores.get("ratings", {}).get("dimensions", {}).items():
        ends = values["ccc_ci95"]
        mean = "-" if values["ccc_mean"] is None else f"{values['ccc_mean']:.3f}"
        rows.append((f"CCC {name}", mean, "-" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"))
    return [note, _table(("score", "mean over seeds", "95% interval"), rows)]


def _encoders(model: TrainedModel) -> str:
    rows = [
        (f"`{name}`", f"`{made['encoder']}`", made["revision"] or "-", f"`{made['weights'][:16] or '-'}`")
        for name, made in ((stream, model.provenance[stream]) for stream in model.streams.values())
    ]
    return _table(("stream", "encoder", "revision", "weights (first digits of the hash)"), rows)


def _encoder_licenses(model: TrainedModel) -> list[str]:
    if any(made["encoder"].startswith("opensmile:") for made in model.provenance.values()):
        return ["openSMILE is under the audEERING Research License: free for research, not for commercial products."]
    return []


def _warnings(scores: Mapping[str, Any] | None) -> list[str]:
    return list(scores["warnings"]) if scores is not None else []


def _license(license_id: str) -> str:
    chosen = (
        "No licence was chosen (`foal export --license`)."
        if license_id == UNKNOWN_LICENSE
        else f"The weights are under {license_id}."
    )
    return f"{chosen} The licences of the training corpus and of the encoders may restrict the use of the networks."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([table_row(header), table_row(["---"] * len(header)), *map(table_row, rows)])
