import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import foal

NAMES = [
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


def test_every_public_name_is_imported_from_its_module() -> None:
    from foal.predict.share.hub import FoalModel, load
    from foal.shared.config.settings import load_settings
    from foal.shared.manifest import read_manifest
    from foal.shared.store.feature_store import FeatureStore
    from foal.train.data.torch_dataset import FeatureDataset

    assert sorted(foal.__all__) == sorted(NAMES)
    assert foal.load is load
    assert foal.FoalModel is FoalModel
    assert foal.load_settings is load_settings
    assert foal.read_manifest is read_manifest
    assert foal.FeatureStore is FeatureStore
    assert foal.FeatureDataset is FeatureDataset
    assert foal.__version__ == version("foal-mer")
    assert set(NAMES) <= set(dir(foal))


def test_extract_and_train_are_packages_that_can_be_called() -> None:
    """The public functions have the names of packages, and importing a package replaces the attribute."""
    import foal.extract.run
    import foal.train.run

    assert sys.modules["foal.extract"] is vars(foal)["extract"]
    assert callable(foal.extract)
    assert callable(foal.train)
    with pytest.raises(TypeError, match="unexpected keyword argument 'feature'"):
        foal.train("feats.h5", feature=1)  # type: ignore[call-arg]


def test_an_unknown_name_raises_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'foal' has no attribute 'FeatureStores'"):
        foal.FeatureStores  # noqa: B018


def test_import_loads_no_heavy_packages(tmp_path: Path) -> None:
    code = "import sys, foal\nprint('\\n'.join(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "foal" in modules
    assert not {"torch", "h5py", "numpy", "pydantic", "typer"} & set(modules)
