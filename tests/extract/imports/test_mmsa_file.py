"""MMSA feature files as .npz: splits, lengths and padding; pickles are never loaded."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foal.extract.imports.mmsa_file import MmsaFile, check_npz
from foal.shared.errors import FoalError, StoreError, UsageError
from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

IDS = [f"video{number // 2}$_${number % 2}" for number in range(6)]
MANIFEST = [Utterance(id=name, corpus="mosi", label=("pos", "neg")[number % 2]) for number, name in enumerate(IDS)]


def make_container(lengths: bool = True) -> dict[str, dict[str, Any]]:
    """Two utterances of each split; row r has r + 1 frames of audio (of five) and r + 2 of vision (of ten)."""
    data = {}
    for number, split in enumerate(("train", "valid", "test")):
        part: dict[str, Any] = {
            "id": IDS[2 * number : 2 * number + 2],
            "raw_text": ["one", "two"],
            "text": np.ones((2, 3, 4)),
            "text_bert": np.ones((2, 3, 3)),
            "regression_labels": np.array([1.0, -1.0]),
        }
        for key, longest, extra, width in (("audio", 5, 1, 3), ("vision", 10, 2, 2)):
            counts = [2 * number + row + extra for row in range(2)]
            values = np.zeros((2, longest, width), np.float32)
            for row, count in enumerate(counts):
                # As MMSA-FET does, which keeps the lengths from before.
                values[row, :count] = row + 1
            part[key] = values
            if lengths:
                part[f"{key}_lengths"] = counts
        data[split] = part
    return data


def save(path: Path, data: dict[str, dict[str, Any]]) -> Path:
    arrays: dict[str, Any] = {f"{split}/{key}": value for split, part in data.items() for key, value in part.items()}
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("lengths", [True, False])
def test_the_frames_of_all_splits_are_read_without_padding(
    tmp_path: Path, messages: pytest.LogCaptureFixture, lengths: bool
) -> None:
    path = save(tmp_path / "mosi.npz", make_container(lengths))
    audio = MmsaFile("audio", path, MANIFEST, key=None, id_key=None)
    face = MmsaFile("face", path, MANIFEST[:-1], key=None, id_key=None)
    assert [audio.read(name).shape for name in audio.ids] == [(1, 3), (2, 3), (3, 3), (4, 3), (5, 3), (5, 3)]
    assert [face.read(name).shape for name in face.ids] == [(2, 2), (3, 2), (4, 2), (5, 2), (6, 2)]
    assert (audio.read(IDS[1]) == 2).all()
    assert "text_bert not imported; it holds ids of tokens" in messages.text
    assert [MmsaFile("text", path, MANIFEST, key=None, id_key=None).read(name).shape for name in IDS] == [(3, 4)] * 6
    assert f"face: not in the manifest, but in {path}: 1 utterance ({IDS[5]})" in messages.text
    assert ("1 utterance of test/audio cut to 5 frames" in messages.text) == lengths
    assert audio.where(IDS[0]) == f"{path}, array audio, id 'video0$_$0'"


def test_zeros_inside_a_length_are_frames_and_a_length_of_0_is_empty(tmp_path: Path) -> None:
    values = np.zeros((3, 4, 2))
    values[0, 1:3] = 1
    values[2] = 1
    np.savez(tmp_path / "a.npz", ids=["a", "b", "c"], vision=values, vision_lengths=[3, 0, 4])
    np.savez(tmp_path / "b.npz", ids=["a", "b", "c"], vision=values)
    rows = [Utterance(id=name, corpus="c") for name in "abc"]
    lengths = {}
    for name in ("a", "b"):
        file = MmsaFile("face", tmp_path / f"{name}.npz", rows, key=None, id_key=None)
        lengths[name] = [len(file.read(utterance_id)) for utterance_id in file.ids]
    assert lengths == {"a": [3, 0, 4], "b": [2, 0, 4]}


def test_vectors_and_other_names_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", name=np.array([b"a", b"b"]), gemaps=np.arange(6.0).reshape(2, 3))
    rows = [Utterance(id=name, corpus="c") for name in "ab"]
    file = MmsaFile("audio", tmp_path / "x.npz", rows, key="gemaps", id_key="name")
    assert file.read("b").tolist() == [3, 4, 5]


def test_a_container_is_imported(tmp_path: Path, run_import: Callable[..., Path]) -> None:
    write_manifest(tmp_path / "m.csv", MANIFEST)
    path = save(tmp_path / "mosi.npz", make_container())
    index = run_import(tmp_path / "out", path, path, file_format="mmsa", rates={"audio": 20.0, "face": 15.0})
    with FeatureStore(index) as store:
        assert store.lengths("audio").tolist() == [1, 2, 3, 4, 5, 5]
        assert store.valid_frames("face").tolist() == [2, 3, 4, 5, 6, 7]


class Explosive:
    """Its pickle would create a file if it were loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "npy", "member"])
def test_pickles_are_refused_and_never_loaded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("x.npz" if kind == "member" else f"x.{kind}")
    explosive = np.array([Explosive(tmp_path / "exploded")] * 2, object)
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"train": explosive}))
    elif kind == "npy":
        np.save(path, explosive, allow_pickle=True)
    else:
        np.savez(path, id=np.array(["a", "b"]), audio=explosive)
    with pytest.raises((StoreError, UsageError), match=r"x\.\w+: expected an .*pickle") as caught:
        MmsaFile("audio", path, MANIFEST, key=None, id_key=None)
    assert ("\nnumpy.savez(" in str(caught.value)) == (kind != "member")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("suffix", ["pkl", "npy"])
def test_the_conversion_of_the_message_works(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"FILE.{suffix}"
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(make_container()))
    else:
        np.save(path, np.array(make_container(), object), allow_pickle=True)
    with pytest.raises(UsageError) as caught:
        check_npz(path)
    code = str(caught.value).partition("\n")[2]
    exec(code.replace("FILE", str(tmp_path / "FILE")), {"numpy": np})
    assert len(MmsaFile("audio", tmp_path / "FILE.npz", MANIFEST, key=None, id_key=None).ids) == 6


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"id": ["a"]}, r"expected an array audio or train/audio, got id; .*--audio-key"),
        ({"audio": np.ones((1, 2, 3))}, r"expected the ids of audio in an array id, got audio; .*--id-key"),
        ({"id": ["x"], "audio": np.ones((1, 2, 3))}, r"expected ids of the manifest, such as video0.*; got x$"),
        ({"id": ["a", "a"], "audio": np.ones((2, 2, 3))}, r"expected unique ids, got 'a' again"),
        ({"id": [["a"]], "audio": np.ones((1, 2, 3))}, r"expected one text per utterance in id"),
        (
            {"id": ["a"], "audio": np.ones((2, 2, 3))},
            r"expected audio of shape \(1, frames, width\) or \(1, width\), got \(2, 2, 3\)",
        ),
        ({"id": ["a"], "audio": np.ones((1, 2, 3)), "audio_lengths": [-1]}, r"expected 1 numbers of frames"),
    ],
)
def test_containers_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises((StoreError, UsageError), match=rf"x\.npz: {message}"):
        MmsaFile("audio", tmp_path / "x.npz", MANIFEST, key=None, id_key=None)


@pytest.mark.parametrize("kind", ["missing", "folder", "text", "truncated"])
def test_files_that_are_no_containers_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.npz"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("no container")
    elif kind == "truncated":
        save(path, make_container())
        path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(FoalError, match=r"x\.npz: expected an? \.npz file|x\.npz: expected a complete"):
        MmsaFile("audio", path, MANIFEST, key=None, id_key=None)
