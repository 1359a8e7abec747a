"""`foal export`: a folder with the networks of a run and everything that their use needs, without the training data.

config.json and model.safetensors are the networks, preprocessing.json describes their inputs, README.md is the model
card, and metrics.json has the scores of the run.
"""

import shutil
from pathlib import Path
from typing import Any

from ...shared.errors import UsageError
from ...shared.files.folders import folder_written_atomically
from ...train.report.files import write_json
from ...train.report.run_folder import METRICS_FILE
from ..exported import is_exported, write_networks
from ..trained import TrainedModel, run_scores
from .card import UNKNOWN_LICENSE, model_card

PREPROCESSING_FILE, CARD_FILE = "preprocessing.json", "README.md"


def export_model(model: TrainedModel, out: Path, *, license_id: str = UNKNOWN_LICENSE, force: bool = False) -> None:
    """Write a model as a folder.

    Args:
        model: the model.
        out: the folder.
        license_id: identifier of the licence of the weights, as on the hub.
        force: replace the files of an earlier export; other files in its folder are kept.

    Raises:
        UsageError: `out` exists and is not empty, and is no export or `force` is not given.
        FoalError: a file cannot be written.
    """
    check_target(out, force=force)
    with folder_written_atomically(out) as work:
        if out.is_dir():  # such as .git and .gitattributes of a clone
            shutil.copytree(out, work, dirs_exist_ok=True, symlinks=True)
        write_files(model, work, license_id=license_id)


def write_files(model: TrainedModel, folder: Path, *, license_id: str = UNKNOWN_LICENSE) -> None:
    """Write the files of a model into an existing folder."""
    scores = run_scores(model.source)
    write_networks(folder, model.name, model.networks)
    write_json(folder / PREPROCESSING_FILE, preprocessing(model))
    (folder / CARD_FILE).write_text(model_card(model, scores, license_id=license_id), encoding="utf-8")
    (folder / METRICS_FILE).unlink(missing_ok=True)
    if scores is not None:
        write_json(folder / METRICS_FILE, scores)


def check_target(out: Path, *, force: bool) -> None:
    """Raise UsageError unless `out` may become the folder of an export."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_exported(out):
        raise UsageError(f"{out}: exists and is no folder of `foal export`; choose another one with --out")
    if not force:
        raise UsageError(
            f"{out}: an exported model exists; choose another folder with --out, or replace it with --force"
        )


def preprocessing(model: TrainedModel) -> dict[str, Any]:
    """The content of preprocessing.json: how the inputs of the networks are made from media."""
    settings, shapes = model.settings, model.networks[0].model.architecture.frame_shapes
    return {
        "inputs": {
            name: {
                "stream": stream,
                "frame_shape": list(shapes[name]),
                "rate_hz": model.metadata["rates"].get(name),
                **model.provenance[stream],
            }
            for name, stream in model.streams.items()
        },
        "frame_rate_hz": settings.frame_rate,
        "max_seconds": settings.max_seconds,
        "normalization": {
            "statistics": settings.normalize,
            "stored_as": "mean and deviation of each projection, in model.safetensors",
            "limit_deviations": settings.input_limit,
        },
    }
