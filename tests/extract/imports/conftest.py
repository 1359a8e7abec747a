"""Imports of precomputed features, as `foal import` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from foal.extract.imports.import_features import import_features
from foal.extract.imports.imported_frames import FrameRules
from foal.shared.config.settings import CorpusSettings, ExtractSettings, Settings


@pytest.fixture
def run_import(tmp_path: Path) -> Callable[..., Path]:
    """Import folders of .npy files with the manifest m.csv, as `foal import` does; return the path of the index."""

    def run(
        out: Path,
        audio: Path | None = None,
        face: Path | None = None,
        *,
        rates: dict[str, float] | None = None,
        name: str | None = None,
        dtype: Literal["float16", "float32"] = "float16",
        nan: Literal["refuse", "invalid"] = "refuse",
        zeros: Literal["invalid", "valid"] | None = None,
        **options: Any,
    ) -> Path:
        corpus = CorpusSettings(manifest=tmp_path / "m.csv")
        settings = Settings(corpus=corpus, extract=ExtractSettings(dtype=dtype), index=tmp_path / "feats.h5")
        paths = {modality: path for modality, path in (("audio", audio), ("face", face)) if path is not None}
        rules = FrameRules(nan=nan, zeros=zeros)
        import_features(settings, paths, out, rates=rates or {}, name=name, rules=rules, **options)
        return out / "feats.h5"

    return run
