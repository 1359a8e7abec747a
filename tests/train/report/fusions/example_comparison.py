"""The content of a fusions.json."""

from typing import Any


def row(key: str, ua: float, *, fusion: bool = True, **values: Any) -> dict[str, Any]:
    return {
        "id": key,
        "name": key.replace("+", " + "),
        "fusion": key.partition("+")[0] if fusion else None,
        "avel": "AVEL" in key,
        "mem": "MEM" in key,
        "seeds": 3 if fusion else 1,
        "parameters": 12345 if fusion else None,
        "processor_seconds": 2.26,
        "ua_mean": ua,
        "ua_std": 0.0123 if fusion else None,
        "ua_ci95": [ua - 0.03, ua + 0.04],
        "wa_mean": ua - 0.01,
        "wa_std": None,
        "f1_mean": ua - 0.02,
        "f1_std": None,
        "gain": ua - 0.7,
        "gain_ci95": [ua - 0.72, ua - 0.69],
        "p": 0.0004,
        "p_holm": 0.0012 if fusion else None,
        "baseline_gain": ua - 0.72,
        "baseline_gain_ci95": [ua - 0.75, ua - 0.71],
        "baseline_p": 0.02,
        "baseline_p_holm": 0.06 if fusion else None,
        "regression_gain": ua - 0.65,
        "regression_gain_ci95": [ua - 0.68, ua - 0.6],
        "regression_p": 0.01,
        "regression_p_holm": 0.03 if fusion else None,
        "best_p_holm": 0.01,
    } | values


NO_GAIN: dict[str, Any] = {"gain": None, "gain_ci95": None, "p": None, "p_holm": None}
NO_BASELINE_GAIN: dict[str, Any] = {
    "baseline_gain": None,
    "baseline_gain_ci95": None,
    "baseline_p": None,
    "baseline_p_holm": None,
}


def example_comparison(**values: Any) -> dict[str, Any]:
    """Four rows of fusion systems and two baselines, sorted by UA; tfn + AVEL is the best, and tfn equals it."""
    return {
        "protocol": "loso-nested",
        "selected_on_test": False,
        "features": "0123456789abcdef" * 4,
        "folds_digest": "fedcba9876543210" * 4,
        "seeds": [0, 1, 2],
        "classes": ["ang", "hap", "neu", "sad"],
        "n": 5531,
        "speakers": 10,
        "random_weights": False,
        "encoder_saw_corpus": False,
        "fold_streams": {},
        "versions": "torch 2.11.0",
        "reference": "concat",
        "best_baseline": "mean_100%",
        "best_regression": "late",
        "best": "tfn+AVEL",
        "left_out": {"text-gate": "text-gate needs a text stream, got audio, face; add text to train.streams"},
        "diverged": {},
        "not_run": ["tfn + MEM"],
        "warnings": ["session 3 is short"],
        "rows": [
            row("tfn+AVEL", 0.75, baseline_p_holm=0.03, best_p_holm=None),
            row("tfn", 0.7312, best_p_holm=0.4),
            row("mean_100%", 0.72, fusion=False, **NO_BASELINE_GAIN),
            row("concat", 0.7, **NO_GAIN),
            row("late", 0.65, fusion=False, processor_seconds=None),
            row("cross-attention", 0.6),
        ],
    } | values
