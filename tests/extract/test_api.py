"""Extraction from Python; `docs/api.md` has an example that the tests run."""

from pathlib import Path

import numpy as np
import pytest

import foal
from foal.manifests.run import build_manifest
from foal.shared.config.settings import CorpusSettings, Settings
from foal.shared.errors import ManifestError, UsageError
from foal.shared.manifest import read_manifest, write_manifest

pytestmark = pytest.mark.slow


@pytest.fixture
def manifest(synthetic_corpus: Path, tmp_path: Path) -> Path:
    """The manifest of two utterances."""
    corpus = CorpusSettings(kind="synthetic", root=synthetic_corpus, manifest=tmp_path / "all.csv")
    build_manifest(corpus)
    write_manifest(tmp_path / "m.csv", read_manifest(tmp_path / "all.csv")[:2])
    return tmp_path / "m.csv"


@pytest.mark.usefixtures("library_logging")
def test_extraction_prints_nothing_and_reports_its_progress(
    manifest: Path, synthetic_corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = foal.load_settings(overrides={"extract.streams": ["audio"], "cluster.workers": 1, "cluster.threads": 1})
    seen: list[tuple[int, int]] = []
    result = foal.extract(
        manifest,
        root=synthetic_corpus,
        features_dir=tmp_path / "features",
        index=tmp_path / "feats.h5",
        settings=settings,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert capfd.readouterr().out == ""
    assert (result.utterances, result.extracted, result.failed) == (2, 2, 0)
    assert result.index == str(tmp_path / "feats.h5")
    assert seen[-1] == (2, 2)
    with foal.FeatureStore(tmp_path / "feats.h5") as store:
        values, valid = store.read("audio", 0)
        assert valid.all()
        assert np.isfinite(values).all()
    written = (tmp_path / "feats.h5").stat().st_mtime_ns
    parts = [
        foal.extract(manifest, root=synthetic_corpus, features_dir=tmp_path / "features", part=part, settings=settings)
        for part in ("1/2", "2/2")
    ]
    assert [part.part for part in parts] == ["1/2", "2/2"]
    assert sum(part.skipped for part in parts) == 2
    assert all(part.index is None for part in parts)
    assert (tmp_path / "feats.h5").stat().st_mtime_ns == written


def test_an_impossible_part_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected I/N with I from 1 to N, such as 2/4, got '5/4'"):
        foal.extract(tmp_path / "m.csv", root=tmp_path, part="5/4", settings=Settings())


def test_a_missing_manifest_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no\.csv"):
        foal.extract(tmp_path / "no.csv", root=tmp_path, settings=Settings())
