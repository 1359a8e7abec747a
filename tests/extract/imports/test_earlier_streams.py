"""A second import into a folder keeps the streams that its index has."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foal.extract.maintenance.index import index_features
from foal.shared.config.settings import CorpusSettings, ExtractSettings, Settings
from foal.shared.errors import UsageError
from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_writer import write_index
from foal.shared.utterance import Utterance
from foal.tests.verification import verify_target

RunImport = Callable[..., Path]


@pytest.fixture
def folders(tmp_path: Path, sample_utterances: list[Utterance]) -> dict[str, Path]:
    """A manifest without media, and single vectors of all its utterances."""
    write_manifest(tmp_path / "m.csv", [replace(u, audio="", video="", end=None) for u in sample_utterances])
    for folder, width in (("audio", 6), ("face", 4)):
        (tmp_path / folder).mkdir()
        for number in range(18):
            np.save(tmp_path / folder / f"u{number}.npy", np.full(width, number + 1.0))
    return {folder: tmp_path / folder for folder in ("audio", "face")}


def test_streams_that_were_imported_one_after_another_equal_one_import(
    tmp_path: Path, folders: dict[str, Path], run_import: RunImport, messages: pytest.LogCaptureFixture
) -> None:
    (folders["face"] / "u4.npy").unlink()
    together = run_import(tmp_path / "together", **folders)
    run_import(tmp_path / "out", folders["audio"])
    index = run_import(tmp_path / "out", face=folders["face"])
    assert "face: width 4, 1 Hz, 17 frames of 17 utterances; audio: kept" in messages.text
    with FeatureStore(index) as store, FeatureStore(together) as expected:
        assert store.digest == expected.digest
        assert list(store.streams) == ["audio", "face"]
        assert store.notes("face")[4] == "not in face"
    assert verify_target(tmp_path / "out")[1] == []

    # A stream of the same name is replaced, even with another width, and `audio/x` does not need `audio` before it.
    for number in range(18):
        np.save(folders["audio"] / f"u{number}.npy", np.ones(2))
    for name in (None, "x"):
        run_import(tmp_path / "out", folders["audio"], name=name)
    with FeatureStore(index) as store:
        assert {name: stream.width for name, stream in store.streams.items()} == {"audio": 2, "audio/x": 2, "face": 4}
    run_import(tmp_path / "out", folders["audio"], replace_index=True)
    with FeatureStore(index) as store:
        assert list(store.streams) == ["audio"]


def test_utterances_that_the_earlier_stream_lacks_are_named(
    tmp_path: Path, folders: dict[str, Path], run_import: RunImport, messages: pytest.LogCaptureFixture
) -> None:
    (folders["audio"] / "u4.npy").unlink()
    run_import(tmp_path / "out", folders["audio"])
    index = run_import(tmp_path / "out", face=folders["face"])
    assert (
        f"left out of {index}, because audio has no row for them: 1 utterance (u4); extract or import" in messages.text
    )
    # Importing it again adds the row, as a missing modality.
    run_import(tmp_path / "out", folders["audio"])
    with FeatureStore(index) as store:
        assert len(store) == 18
        assert store.notes("audio")[store.rows(["u4"])[0]] == "not in audio"


@pytest.mark.parametrize("inside", [True, False])
def test_extracted_streams_are_kept(
    tmp_path: Path,
    folders: dict[str, Path],
    sample_utterances: list[Utterance],
    make_features: Callable[..., Path],
    run_import: RunImport,
    inside: bool,
) -> None:
    write_manifest(tmp_path / "m.csv", sample_utterances)
    out = make_features(tmp_path / "out", sample_utterances, widths={"audio": 8})
    # `foal extract` writes the index of the settings, beside the features folder.
    write_index((out if inside else tmp_path) / "feats.h5", sample_utterances, out, {"audio": "0" * 64})
    index = run_import(out, face=folders["face"])
    with FeatureStore(index) as store:
        assert {name: stream.width for name, stream in store.streams.items()} == {"audio": 8, "face": 4}
        assert len(store) == 18


def test_an_earlier_index_that_cannot_be_kept_is_refused(
    tmp_path: Path, folders: dict[str, Path], run_import: RunImport, sample_utterances: list[Utterance]
) -> None:
    index = run_import(tmp_path / "out", folders["audio"])
    settings = Settings(
        corpus=CorpusSettings(manifest=tmp_path / "m.csv"),
        extract=ExtractSettings(features_dir=tmp_path / "out", streams=("audio",)),
    )
    index_features(settings, index, pack=True, config_hashes=[])
    before = index.read_bytes()
    with pytest.raises(UsageError, match=r"contains its features .*--out, or replace it with --replace-index"):
        run_import(tmp_path / "out", face=folders["face"])
    assert index.read_bytes() == before
    index_features(settings, index, pack=False, config_hashes=[])

    # The rows of the manifest have changed.
    write_manifest(tmp_path / "m.csv", [replace(u, end=9.0) for u in sample_utterances])
    with pytest.raises(UsageError, match=r"no utterance of the manifest has a current row in its stream audio"):
        run_import(tmp_path / "out", face=folders["face"])
    assert not list(tmp_path.glob("out/*/face-*"))
    run_import(tmp_path / "out", face=folders["face"], replace_index=True)
