"""Folders of .npy files: matching with the manifest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foal.extract.imports.npy_folder import NpyFolder, open_array
from foal.shared.errors import StoreError, UsageError
from foal.shared.utterance import Utterance


def save(path: Path, shape: tuple[int, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ones(shape, np.float32))
    return path


def test_files_are_matched_by_id_and_other_files_are_ignored(
    tmp_path: Path, sample_utterances: list[Utterance]
) -> None:
    save(tmp_path / "u0.npy", (49, 6))
    save(tmp_path / "u1.npy", (6,))
    save(tmp_path / "other.npy", (3, 2))
    folder = NpyFolder("audio", tmp_path, sample_utterances)
    assert folder.paths == {"u0": tmp_path / "u0.npy", "u1": tmp_path / "u1.npy"}
    assert [folder.read(name).shape for name in folder.ids] == [(49, 6), (6,)]


def test_an_id_with_slashes_only_matches_files_in_subfolders(
    tmp_path: Path, sample_utterances: list[Utterance]
) -> None:
    inside = save(tmp_path / "features" / "a" / "b.npy", (6,))
    save(tmp_path / "secret.npy", (6,))
    utterances = [replace(sample_utterances[0], id=name) for name in ("a/b", "../secret")]
    assert NpyFolder("audio", tmp_path / "features", utterances).paths == {"a/b": inside}


def test_a_folder_without_matching_names_is_refused_with_examples(
    tmp_path: Path, sample_utterances: list[Utterance]
) -> None:
    save(tmp_path / "clip_1.npy", (6,))
    with pytest.raises(UsageError, match=r"such as u0\.npy, u1\.npy, u2\.npy; got clip_1\.npy"):
        NpyFolder("audio", tmp_path, sample_utterances)


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "u0.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(StoreError, match=r"expected a complete \.npy file of numbers"):
        open_array(tmp_path / "u0.npy")
