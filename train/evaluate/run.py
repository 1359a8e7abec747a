"""`foal evaluate` from top to bottom: trained networks and features in, everything that can be said of them out."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from ...shared.config.settings import Settings
from ...shared.config.train_settings import TrainSettings
from ...shared.errors import StoreError, TrainingError
from ...shared.utterance import select_splits
from ..data.dataset import Dataset, opened
from ..data.modality_dropout import halved, without
from ..data.protocol import group_of
from ..data.sequences import Batch
from ..fit.device import chosen_device, deterministic
from ..fit.logistic_regression import mean_features
from ..fit.predict import predict
from ..metrics.calibration import expected_calibration_error, reliability
from ..metrics.classification import confusion, macro_f1, pooled_scores, unweighted_accuracy, weighted_accuracy
from ..metrics.retrieval import fit_bridge, retrieval
from ..report.evaluation import plot_calibration, plot_overview
from ..report.files import title_of, versions, write_json
from ..report.plots import plot_confusion
from ..report.run_folder import kept_folder
from .ensemble import Bench, benches, check_encoders, read_judges
from .matching import Pairs, embeddings

OUR_FILES = frozenset({"metrics.json", "confusion.png", "calibration.png", "overview.png", ".gitignore"})
BINS = 15
BATCH = 128


def evaluate(
    settings: Settings,
    run: Path,
    features: Path,
    out: Path,
    *,
    splits: Sequence[str] = ("all",),
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Judge the utterances of some splits by a run's networks; write metrics.json and pictures into `out`.

    No network judges a group that it learned from. Raises StoreError for a run or features that cannot be read,
    TrainingError where they do not belong together or nobody may be judged.
    """
    judges = read_judges(run)
    about = judges[0].about
    learned = TrainSettings.model_validate(about["settings"])
    names = {name: chosen for name in ("audio", "face") if (chosen := getattr(settings.train, name)) is not None}
    learned = learned.model_copy(update=names)
    device = chosen_device(settings.cluster.device)
    reading = learned.model_copy(update={"load": settings.train.load, "disk_buffer_mb": settings.train.disk_buffer_mb})
    with deterministic(device, settings.cluster.threads), opened(features, reading, classes=about["classes"]) as data:
        check_encoders(judges[0], data, run, features)
        wanted = {utterance.id for utterance in select_splits(data.utterances, splits)}
        rows = torch.tensor([row for row, name in enumerate(data.ids) if name in wanted])
        seats = benches(judges, data, rows)
        first = next(iter(seats.values()))
        if not len(first.rows):
            raise TrainingError(
                f"{run}: every one of the {len(rows)} utterances is of a group that its networks learned from; "
                "evaluate the whole run, or other features"
            )
        if uneven := [seed for seed, bench in seats.items() if not torch.equal(bench.rows, first.rows)]:
            raise StoreError(f"{run}: expected networks of the same folds for every seed, got others for {uneven[0]}")
        data = data.to(device)
        for judge in judges:
            judge.model.to(device)
        say(f"{len(first.rows)} utterances, {len(judges)} networks")
        evaluation = _evaluation(data, seats, settings, device, about, say)
        notes = [*data.notes, *_notes(first, about)]
        metrics = {
            **{
                key: about[key]
                for key in (
                    "protocol",
                    "selected_on_test",
                    "random_weights",
                    "modalities",
                    "avel",
                    "mem",
                    "compat",
                    "streams",
                )
            },
            "run": {"features": about["features"], "splits": about["splits"], "versions": about["versions"]},
            "features": data.digest,
            "split": list(splits),
            "seeds": sorted(seats),
            "classes": list(data.classes),
            "versions": versions(),
            "n": len(first.rows),
            **evaluation,
            "notes": notes,
        }
    with kept_folder(out, OUR_FILES) as folder:
        write_json(folder / "metrics.json", metrics)
        plot_confusion(folder / "confusion.png", metrics, title=title_of(metrics))
        plot_calibration(folder / "calibration.png", metrics, title=title_of(metrics))
        plot_overview(folder / "overview.png", metrics, title=title_of(metrics))
    return metrics


def _notes(bench: Bench, about: Mapping[str, Any]) -> list[str]:
    kind, notes = about["groups"]["kind"], []
    if about["selected_on_test"]:
        notes.append("selected on test: the test groups of the run chose its epochs")
    if len(bench.barred):
        notes.append(f"{len(bench.barred)} utterances left out: the networks learned from their {kind}, or may have")
    if len(bench.foreign):
        notes.append(
            f"{len(bench.foreign)} utterances are of a corpus or {kind} that the run did not know: all networks of a "
            "seed judge them together"
        )
    if about["random_weights"]:
        notes.append("random weights: an encoder of these features never learned anything")
    return notes


def _evaluation(
    data: Dataset,
    seats: Mapping[int, Bench],
    settings: Settings,
    device: torch.device,
    about: Mapping[str, Any],
    say: Callable[[str], None],
) -> dict[str, Any]:
    rows = next(iter(seats.values())).rows.numpy()
    labels = data.labels.numpy()[rows]
    tables = _tables(data, seats, device)[:, rows]  # (seeds, m, c)
    predicted = tables.argmax(-1)
    speakers = [data.speakers[row] for row in rows]
    kind = about["groups"]["kind"]
    names = about["groups"]["names"]
    groups = [group_of(data.utterances[row], kind, data.speakers[row], names) or "unknown" for row in rows]
    scores = pooled_scores(labels, predicted, speakers, classes=data.classes, resamples=settings.train.bootstrap)
    result: dict[str, Any] = {
        **scores,
        "per_class": _per_class(labels, predicted, data.classes),
        "per_speaker": _per_group(labels, predicted, speakers, len(data.classes)),
        f"per_{kind}": _per_group(labels, predicted, groups, len(data.classes)),
        "calibration": _calibration(tables, labels),
    }
    if kind != "session":
        sessions = [data.utterances[row].session or "unknown" for row in rows]
        result["per_session"] = _per_group(labels, predicted, sessions, len(data.classes))
    if len(data.names) > 1:
        say("without a modality, with half of the faces")
        conditions: dict[str, Callable[[Batch], Batch]] = {
            "audio removed": partial(without, modality="audio"),
            "face removed": partial(without, modality="face"),
            "face rate halved": partial(halved, modality="face"),
        }
        result["robustness"] = {"all there": _scores(labels, predicted, len(data.classes))}
        for name, changed in conditions.items():
            guessed = _tables(data, seats, device, changed)[:, rows].argmax(-1)
            result["robustness"][name] = _scores(labels, guessed, len(data.classes))
        say("retrieval and matching")
        result["retrieval"] = _retrieval(data, seats, device, about)
        pairs = Pairs()
        for bench in seats.values():
            for judge, some in bench.judges:
                if len(some):
                    pairs.add(judge.model, data, some, device=device)
        result["matching"] = pairs.scores() if about["mem"] else None
    return result


def _tables(
    data: Dataset, seats: Mapping[int, Bench], device: torch.device, changed: Callable[[Batch], Batch] = lambda b: b
) -> NDArray[np.float32]:
    """Probabilities (seeds, n, c); NaN for rows that nobody judges."""
    tables = []
    for bench in seats.values():
        guessed = [
            predict(judge.model, data, rows, batch_size=BATCH, device=device, changed=changed)
            for judge, rows in bench.judges
        ]
        tables.append(bench.averaged(guessed))
    return np.stack(tables)


def _scores(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> dict[str, float | None]:
    """UA, WA and F1 of predicted (seeds, m): means and, for UA, the deviation over seeds."""
    counts = np.stack([confusion(labels, row, classes) for row in predicted])
    ua = unweighted_accuracy(counts)
    return {
        "ua_mean": float(ua.mean()),
        "ua_std": float(ua.std(ddof=1)) if len(ua) > 1 else None,
        "wa_mean": float(weighted_accuracy(counts).mean()),
        "f1_mean": float(macro_f1(counts).mean()),
    }


def _per_class(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 over all seeds, and how many utterances there are."""
    truth = np.tile(labels, len(predicted))
    columns = precision_recall_fscore_support(truth, predicted.ravel(), labels=range(len(classes)), zero_division=0.0)
    names = ("precision", "recall", "f1")
    return {
        label: {
            **{name: float(columns[place][c]) for place, name in enumerate(names)},
            "n": int(columns[3][c]) // len(predicted),
        }
        for c, label in enumerate(classes)
    }


def _per_group(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], groups: Sequence[str], classes: int
) -> dict[str, dict[str, Any]]:
    where = np.asarray(groups, object)
    return {
        str(name): {
            **_scores(labels[where == name], predicted[:, where == name], classes),
            "n": int((where == name).sum()),
        }
        for name in np.unique(where)
    }


def _calibration(tables: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, Any]:
    """ECE, its mean over seeds; and the bins of all seeds together."""
    eces = [expected_calibration_error(table, labels, BINS) for table in tables]
    bins = reliability(tables.reshape(-1, tables.shape[-1]), np.tile(labels, len(tables)), BINS)

    def numbers(values: NDArray[Any]) -> list[float | None]:
        return [None if np.isnan(value) else float(value) for value in values]

    return {
        "ece_mean": float(np.mean(eces)),
        "ece_std": float(np.std(eces, ddof=1)) if len(eces) > 1 else None,
        "bins": {
            "confidence": numbers(bins.confidence),
            "accuracy": numbers(bins.accuracy),
            "counts": [int(count) for count in bins.counts],
        },
    }


def _retrieval(
    data: Dataset, seats: Mapping[int, Bench], device: torch.device, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Retrieval by emotion (mAP, R@1) within each judged group, both ways: on AVEL embeddings and on raw means.

    Raw means of two encoders lie in unrelated spaces: a ridge regression, fitted without labels to the utterances that
    the network learned from, brings one into the other. Without such utterances there are no raw numbers.
    """
    means = {name: torch.from_numpy(table) for name, table in mean_features(data).items()}
    both = torch.stack([table.isfinite().all(1) for table in means.values()]).all(0)
    kind, known = about["groups"]["kind"], set(about["groups"]["names"])
    groups = [group_of(u, kind, speaker, known) for u, speaker in zip(data.utterances, data.speakers, strict=True)]
    learnable = torch.tensor([group in known for group in groups])
    found: dict[str, list[tuple[int, Any]]] = {}
    for bench in seats.values():
        for judge, judged in bench.judges:
            rows = judged[both[judged]]
            if not len(rows):
                continue
            spaces = {}
            if judge.model.alignment is not None:
                spaces["avel"] = {
                    name: table.numpy()
                    for name, table in embeddings(judge.model, data, rows, batch_size=BATCH, device=device).items()
                }
            dev = next((fold["dev"] for fold in about["splits_of_folds"] if fold["fold"] == judge.fold), "")
            trained = torch.tensor([group not in (judge.test, dev) for group in groups]) & learnable & both
            if int(trained.sum()) > 1:
                bridge = fit_bridge(means["audio"][trained].numpy(), means["face"][trained].numpy())
                audio, face = bridge(means["audio"][rows].numpy(), means["face"][rows].numpy())
                spaces["raw"] = {"audio": audio, "face": face}
            labels = data.labels[rows].numpy()
            for space, sides in spaces.items():
                for query, gallery in (("audio", "face"), ("face", "audio")):
                    got = retrieval(sides[query], sides[gallery], labels, labels, own=False)
                    if got is not None:
                        found.setdefault(f"{space}: {query} to {gallery}", []).append((len(rows), got))
    return {
        name: {
            key: float(np.average([getattr(got, key) for _, got in some], weights=[n for n, _ in some]))
            for key in ("map", "r1", "chance")
        }
        for name, some in sorted(found.items())
    }
