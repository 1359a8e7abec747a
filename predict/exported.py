"""The networks in a folder of `foal export`: config.json, and model.safetensors with the weights of all of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from ..shared.errors import StoreError
from ..train.evaluate.ensemble import FoldModel, fold_model_of
from ..train.model.checkpoint import VERSION as MODEL_VERSION
from ..train.model.checkpoint import build_trained, check_version, corrupt_as_store_error
from ..train.report.results import write_json

FORMAT, VERSION = "foal-export", 1
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


def is_exported(folder: Path) -> bool:
    """Whether a folder was written by `foal export`."""
    try:
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def write_networks(folder: Path, name: str, networks: Sequence[FoldModel]) -> None:
    """Write config.json and model.safetensors into an existing folder.

    The weights of each network have its name and a dot in front, such as `seed0-fold1.`. What is the same in the
    descriptions of all networks is stored once.

    Args:
        folder: the folder.
        name: name of the model.
        networks: the networks.
    """
    descriptions = {prefix_of(member): _description(member) for member in networks}
    first = next(iter(descriptions.values()))
    common = {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in descriptions.values())
    }
    own = {
        prefix: {key: value for key, value in description.items() if key not in common}
        for prefix, description in descriptions.items()
    }
    weights = {
        f"{prefix_of(member)}.{key}": value.contiguous().cpu()
        for member in networks
        for key, value in member.model.state_dict().items()
    }
    # As in save_model: save_file would create a file that only its owner can read.
    (folder / WEIGHTS_FILE).write_bytes(save(weights, metadata={"format": "pt"}))
    content = {"format": FORMAT, "version": VERSION, "model_version": MODEL_VERSION, "name": name}
    write_json(folder / CONFIG_FILE, {**content, "networks": own, "common": common})


def read_networks(folder: Path) -> tuple[str, list[FoldModel]]:
    """The name of an exported model, and its networks in eval mode on the CPU.

    Raises:
        StoreError: a file is missing or damaged, or of another version.
    """
    with corrupt_as_store_error(folder):
        content = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if content["version"] > VERSION:
            raise StoreError(
                f"{folder}: expected an export of version {VERSION}, got {content['version']}; update foal"
            )
        check_version(content["model_version"], folder)
        weights = load_file(folder / WEIGHTS_FILE)
        networks = []
        for prefix, own in content["networks"].items():
            description = {**content["common"], **own}
            tensors = {key.removeprefix(f"{prefix}."): weights[key] for key in weights if key.startswith(f"{prefix}.")}
            model = build_trained(description["architecture"], tensors, folder)
            networks.append(fold_model_of(model, description, folder))
        if not networks:
            raise ValueError("expected at least one network in config.json")
        return str(content["name"]), networks


def prefix_of(member: FoldModel) -> str:
    """The name of a network, as that of its folder under models/."""
    return f"final-seed{member.seed}" if member.is_final else f"seed{member.seed}-fold{member.fold}"


def _description(member: FoldModel) -> Mapping[str, Any]:
    """The config.json of a network as JSON values."""
    described = {key: value for key, value in member.metadata.items() if key not in ("format", "version")}
    described["architecture"] = asdict(member.model.architecture)
    values: Mapping[str, Any] = json.loads(json.dumps(described))
    return values
