"""A trained network on disk: model.safetensors, and config.json with all that is needed to rebuild and to use it."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ...shared.errors import StoreError
from .foalnet import Architecture, FoalNet, build

FORMAT, VERSION = "foal-model", 1


def save_model(folder: Path, model: FoalNet, about: Mapping[str, Any]) -> None:
    """Write both files into a new folder; `about` (JSON) says which classes, features, fold and seed these are."""
    if folder.exists():  # of a process that was killed before it could say that this fit is done
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    weights = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    config = {"format": FORMAT, "version": VERSION, "architecture": asdict(model.architecture), **about}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path) -> tuple[FoalNet, dict[str, Any]]:
    """The network, in eval mode on the CPU, and its config.json.

    Raises StoreError if a file is missing, damaged, no model of ours, or written by a newer foal.
    """
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("format") != FORMAT:
            raise StoreError(f"{folder}: expected a folder of format {FORMAT}, got {config.get('format')!r}")
        if config["version"] != VERSION:
            raise StoreError(f"{folder}: model version {config['version']}, this foal reads {VERSION}; update foal")
        values = dict(config["architecture"])
        values["frame_shapes"] = {name: tuple(shape) for name, shape in values["frame_shapes"].items()}
        model = build(Architecture(**values))
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except FileNotFoundError as error:
        missing = error.filename or folder / "model.safetensors"
        raise StoreError(
            f"{missing}: there is no such file; expected a folder under models/ of a run of `foal train`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise StoreError(f"{folder}: a damaged model: {error}") from None
    return model.eval(), config
