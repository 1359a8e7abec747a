"""Exported features, imported again, are the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foal.extract.exports.export_features import export_features
from foal.extract.imports.import_features import import_features
from foal.extract.imports.imported_frames import FrameRules
from foal.shared.config.settings import CorpusSettings, ExtractSettings, Settings
from foal.shared.errors import UsageError
from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance


@pytest.mark.parametrize("file_format", ["npy", "parquet", "datasets"])
def test_a_round_trip_gives_equal_values(
    file_format: Any, tmp_path: Path, sample_utterances: list[Utterance], make_features: Callable[..., Path]
) -> None:
    make_features(tmp_path / "features", sample_utterances)
    write_index(
        tmp_path / "feats.h5", sample_utterances, tmp_path / "features", dict.fromkeys(("audio", "face"), "0" * 64)
    )
    folders = export_features(tmp_path / "feats.h5", tmp_path / "out", file_format=file_format)
    assert [folder.name for folder in folders] == ["audio", "face"]
    write_manifest(tmp_path / "m.csv", sample_utterances)
    import_features(
        Settings(corpus=CorpusSettings(manifest=tmp_path / "m.csv"), extract=ExtractSettings(dtype="float16")),
        {folder.name: folder for folder in folders},
        tmp_path / "again",
        file_format="npy" if file_format == "npy" else "datasets",
        rules=FrameRules(nan="invalid", zeros="valid"),
        rates={"audio": 50.0, "face": 10.0},
        name=None,
    )
    with FeatureStore(tmp_path / "feats.h5") as before, FeatureStore(tmp_path / "again" / "feats.h5") as after:
        assert [u.id for u in before.utterances] == [u.id for u in after.utterances]
        for stream in ("audio", "face"):
            for row in range(len(before)):
                (values, valid), (again, valid_again) = before.read(stream, row), after.read(stream, row)
                np.testing.assert_array_equal(valid, valid_again)
                np.testing.assert_array_equal(values[valid], again[valid])
    with pytest.raises(UsageError, match="exists; choose another folder"):
        export_features(tmp_path / "feats.h5", tmp_path / "out", file_format=file_format)
