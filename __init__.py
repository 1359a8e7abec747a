"""foal: audio-visual emotion recognition from features that are extracted once (the repository root is the package).

The public API, imported at first use:

    extract           extract the features of a corpus into feats.h5
    train             train and test on feats.h5; a result with metrics, predictions and plots
    read_run          the result of a finished run
    read_manifest     read a manifest into utterances
    load_settings     read params.yaml into settings
    FeatureStore      read features from feats.h5 as NumPy arrays
    FeatureDataset    read features from feats.h5 as a PyTorch dataset
    load              load a trained model, from a run or a folder of `foal export`
    FoalModel         such a model, from or to the Hugging Face hub
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .extract.api import extract
    from .predict.share.hub import FoalModel, load
    from .shared.config.settings import load_settings
    from .shared.manifest import read_manifest
    from .shared.store.feature_store import FeatureStore
    from .train.api import read_run, train
    from .train.data.torch_dataset import FeatureDataset

    __version__: str

__all__ = [
    "FeatureDataset",
    "FeatureStore",
    "FoalModel",
    "__version__",
    "extract",
    "load",
    "load_settings",
    "read_manifest",
    "read_run",
    "train",
]

# A program that uses foal decides what it logs.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_MODULES = {
    "FeatureDataset": ".train.data.torch_dataset",
    "FeatureStore": ".shared.store.feature_store",
    "FoalModel": ".predict.share.hub",
    "load": ".predict.share.hub",
    "load_settings": ".shared.config.settings",
    "read_manifest": ".shared.manifest",
    "read_run": ".train.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("foal-mer")
    if name in ("extract", "train"):  # packages that can be called
        return import_module(f".{name}", __name__)
    if name in _MODULES:
        return getattr(import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
