"""Sections of a run and its evaluation: confusion, classes, groups, reliability, curves, robustness, retrieval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...train.report.formatting import NONE, percent, retrieval_sample
from ...train.report.ratings import rating_text
from .charts import bar_chart, confusion_chart, development_chart, loss_chart, reliability_chart, strip_chart
from .layout import Cell, Figure, Section, Table, sort_key, text_table
from .sources import Row, Source

GROUPS = {
    "per_session": "Sessions",
    "per_corpus": "Corpora",
    "per_fold": "Folds",
    "per_speaker": "Speakers",
    "per_scene_kind": "Scripted and improvised",
    "per_scene": "Scenes",
}
"""Keys of an evaluation with scores per group, and their titles."""
NAMES = dict(zip(GROUPS.values(), ("session", "corpus", "fold", "speaker", "kind of scene", "scene"), strict=True))
"""Head of the first column by title."""


def score_sections(source: Source) -> list[Section]:
    """The sections with scores of a run or an evaluation, those that its files allow."""
    metrics, evaluation = source.content, source.evaluation
    sections = []
    if "ua_mean" in metrics:
        sections += [_classes(metrics, evaluation), *_folds(metrics)]
    if "ratings" in metrics:
        sections.append(_ratings(metrics))
    if "ua_mean" in evaluation:
        sections += _groups(evaluation)
        if evaluation.get("calibration"):
            sections.append(_reliability(evaluation))
        if evaluation.get("robustness"):
            sections.append(_robustness(evaluation))
        if evaluation.get("retrieval"):
            sections.append(_retrieval(evaluation))
    if source.history:
        sections.append(_curves(source.history))
    return sections


def _classes(metrics: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Section:
    counts = np.asarray(metrics["confusion"], np.int64)
    per_class = evaluation.get("per_class") or {}
    head, rows = ["class", "recall %", "predicted %"], []
    for at, name in enumerate(metrics["classes"]):
        recall = metrics["per_class_recall"].get(name)
        predicted = counts[:, at].sum() / max(counts.sum(), 1)
        rows.append([name, NONE if recall is None else percent(recall), percent(float(predicted))])
    if per_class:
        head += ["precision %", "F1 %", "n"]
        for row in rows:
            scores = per_class[row[0]]
            row += [percent(scores["precision"]), percent(scores["f1"]), f"{scores['n']:,}"]
    seeds = len(metrics["seeds"])
    caption = "Share of each true class in percent" + (
        f"; counts over {seeds} seeds." if seeds > 1 else "; counts of utterances."
    )
    return Section(
        key="classes",
        title="Classes",
        text=["n: utterances; predicted: share of this class in all predictions."] if per_class else (),
        figures=[Figure(chart=confusion_chart(metrics["classes"], metrics["confusion"]), caption=caption)],
        tables=[text_table("Scores per class", head, rows)],
    )


def _folds(metrics: Mapping[str, Any]) -> list[Section]:
    """Scores per test group, mean over seeds; an evaluation has none."""
    folds = metrics.get("folds", [])
    if not folds:
        return []
    rows = []
    for test in dict.fromkeys(fold["test"] for fold in folds):
        of_test = [fold for fold in folds if fold["test"] == test]
        scores = [float(np.mean([fold[score] for fold in of_test])) for score in ("ua", "wa", "f1")]
        epochs = ", ".join(str(fold["epoch"]) for fold in of_test)
        rows.append([test, of_test[0]["dev"], epochs, *map(percent, scores), f"{of_test[0]['n']:,}"])
    head = ["test", "development", "epoch", "UA %", "WA %", "F1 %", "utterances"]
    return [Section(key="folds", title="Folds", tables=[text_table("Scores per fold", head, rows, names=2)])]


def _groups(evaluation: Mapping[str, Any]) -> list[Section]:
    tables = [_group_table(title, evaluation[key], evaluation) for key, title in GROUPS.items() if evaluation.get(key)]
    if not tables:
        return []
    words = [
        "Mean over seeds; n: utterances. The strip shows UA from 0 to 100% and its deviation over seeds; the "
        "dotted line is the UA of all utterances."
    ]
    return [Section(key="groups", title="Sessions, speakers and scenes", text=words, tables=tables)]


def _group_table(title: str, groups: Mapping[str, Mapping[str, Any]], evaluation: Mapping[str, Any]) -> Table:
    rows = []
    for name, scores in groups.items():
        ua, spread = scores["ua_mean"], scores["ua_std"] or 0.0
        ends = (ua - spread, ua + spread) if spread else None
        strip = strip_chart(ua, ends, (0.0, 1.0), evaluation["ua_mean"])
        texts = [percent(ua), percent(scores["wa_mean"]), percent(scores["f1_mean"]), f"{scores['n']:,}"]
        cells = [Cell(text=text, key=sort_key(text)) for text in texts]
        rows.append([Cell(text=name), cells[0], Cell(chart=strip, key=f"{ua:g}"), *cells[1:]])
    head = [NAMES[title], "UA %", "0 to 100%", "WA %", "F1 %", "n"]
    return Table(caption=title, head=head, rows=rows, numeric=frozenset({1, 3, 4, 5}))


def _reliability(evaluation: Mapping[str, Any]) -> Section:
    scores = evaluation["calibration"]
    words = (
        f"Expected calibration error (ECE): {percent(scores['ece_mean'])}%. Bars below the dashed diagonal mean that "
        "the network is more confident than it is right."
    )
    caption = "Accuracy by confidence, all seeds together."
    bins = scores["bins"]
    width, total = 1 / len(bins["counts"]), max(sum(bins["counts"]), 1)
    head = ["confidence %", "mean %", "accuracy %", "share of utterances %"]
    rows = [
        [
            f"{percent(at * width)} to {percent((at + 1) * width)}",
            *(percent(bins[key][at]) for key in ("confidence", "accuracy")),
            percent(count / total),
        ]
        for at, count in enumerate(bins["counts"])
        if count
    ]
    return Section(
        key="reliability",
        title="Reliability",
        text=[words],
        figures=[Figure(chart=reliability_chart(scores["bins"]), caption=caption)],
        tables=[text_table("Accuracy by confidence", head, rows)],
    )


def _robustness(evaluation: Mapping[str, Any]) -> Section:
    rows = [(name, scores["ua_mean"], scores["ua_std"]) for name, scores in evaluation["robustness"].items()]
    chance = {"chance": 1 / len(evaluation["classes"])}
    caption = "UA in percent with degraded inputs; the orange line is the deviation over seeds."
    return Section(
        key="robustness",
        title="Robustness to a missing modality",
        figures=[Figure(chart=bar_chart(rows, label="UA", marks=chance), caption=caption)],
        tables=[
            text_table(
                "Scores with degraded inputs",
                ["inputs", "UA %", "WA %", "F1 %"],
                [
                    [name, *(percent(scores[f"{score}_mean"]) for score in ("ua", "wa", "f1"))]
                    for name, scores in evaluation["robustness"].items()
                ],
            )
        ],
    )


def _retrieval(evaluation: Mapping[str, Any]) -> Section:
    spaces = evaluation["retrieval"]
    rows = [[name, *(percent(scores[key]) for key in ("map", "r1", "chance"))] for name, scores in spaces.items()]
    bars = [(name, scores["map"], None) for name, scores in spaces.items()]
    chance = {"chance": float(np.mean([scores["chance"] for scores in spaces.values()]))}
    caption = "Mean average precision (mAP) of finding utterances of the same emotion, in percent."
    words = [sample[:1].upper() + sample[1:] + "."] if (sample := retrieval_sample(spaces)) else []
    if matching := evaluation.get("matching"):
        shares = ", ".join(f"{name} {percent(value)}%" for name, value in matching.items() if name != "pairs")
        words.append(f"Matching of audio and face (MEM), chance 50%: {shares}; {matching['pairs']:,} pairs.")
    return Section(
        key="retrieval",
        title="Retrieval across modalities",
        text=words,
        figures=[Figure(chart=bar_chart(bars, label="mAP", marks=chance), caption=caption)],
        tables=[text_table("Retrieval", ["query to gallery", "mAP %", "R@1 %", "chance %"], rows)],
    )


def _curves(history: Sequence[Row]) -> Section:
    losses, legend = loss_chart(history)
    figures = [Figure(chart=losses, caption="Training loss (unweighted), one line per seed and fold.", legend=legend)]
    if (development := development_chart(history)) is not None:
        figures.append(
            Figure(chart=development, caption="UA of the development group (%), one line per seed and fold.")
        )
    return Section(key="curves", title="Learning curves", figures=figures)


def _ratings(metrics: Mapping[str, Any]) -> Section:
    names = ("ccc", "mae")
    rows = []
    for dimension, scores in metrics["ratings"]["dimensions"].items():
        cells = [rating_text(scores[f"{score}_{part}"]) for score in names for part in ("mean", "ci95")]
        rows.append([dimension, *cells])
    head = ["rating", "CCC", "95% interval", "MAE", "95% interval"]
    return Section(key="ratings", title="Ratings", tables=[text_table("Scores of ratings", head, rows)])
