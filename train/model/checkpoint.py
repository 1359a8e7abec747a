"""A trained network on disk: model.safetensors, and config.json with everything needed to rebuild and use it."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...shared.errors import StoreError, TrainingError
from .architecture import Architecture
from .networks import Network, build_network

FORMAT = "foal-model"
VERSION = 4


def save_model(folder: Path, model: Network, metadata: Mapping[str, Any]) -> None:
    """Write model.safetensors and config.json into a new folder.

    Args:
        folder: the folder; replaced if it exists.
        model: the network.
        metadata: JSON values added to config.json: classes, features, fold, seed, settings.
    """
    if folder.exists():  # left by a process that was killed before it recorded the fit as finished
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    weights = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    config = {"format": FORMAT, "version": VERSION, "architecture": asdict(model.architecture), **metadata}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path) -> tuple[Network, dict[str, Any]]:
    """Read a network saved by `save_model`.

    Args:
        folder: a folder under models/ of a run.

    Returns:
        The network, in eval mode on the CPU, and its config.json.

    Raises:
        StoreError: a file is missing or corrupt, or of another format, version or head.
    """
    with corrupt_as_store_error(folder):
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("format") != FORMAT:
            raise StoreError(f"{folder}: expected a folder of format {FORMAT}, got {config.get('format')!r}")
        check_version(config["version"], folder)
        return build_trained(config["architecture"], load_file(folder / "model.safetensors"), folder), config


def check_version(version: int, folder: Path) -> None:
    """Raise StoreError unless networks of this version can be built."""
    if version != VERSION:
        remedy = "train again" if version < VERSION else "update foal"
        raise StoreError(f"{folder}: expected model version {VERSION}, got {version}; {remedy}")


def build_trained(architecture: Mapping[str, Any], weights: Mapping[str, Tensor], folder: Path) -> Network:
    """A network with stored weights, in eval mode on the CPU.

    Args:
        architecture: its architecture, as JSON values.
        weights: its tensors by name.
        folder: where they come from, for messages.

    Raises:
        StoreError: the weights are those of another network.
    """
    values = dict(architecture)
    values["pool"] = tuple(values["pool"])
    values["frame_shapes"] = {name: tuple(shape) for name, shape in values["frame_shapes"].items()}
    model = build_network(Architecture(**values))
    if weights.keys() != model.state_dict().keys():
        raise StoreError(
            f"{folder}: expected weights of the head {model.architecture.fusion}, which config.json names, got "
            "those of another network in model.safetensors; train again"
        )
    model.load_state_dict(weights)
    return model.eval()


@contextmanager
def corrupt_as_store_error(folder: Path) -> Iterator[None]:
    """Raise StoreError for what goes wrong when the files of a folder are missing, damaged or of another format."""
    try:
        yield
    except FileNotFoundError as error:
        missing = error.filename or folder / "model.safetensors"
        raise StoreError(f"{missing}: no such file; expected a folder under models/ of a run of `foal train`") from None
    except TrainingError as error:
        raise StoreError(f"{folder}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise StoreError(f"{folder}: corrupt model: {error}") from None
