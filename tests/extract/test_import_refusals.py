"""What `foal import` does not take: files that are no features, and options that do not fit together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.extract.import_cli import import_features
from foal.shared.errors import FoalError, StoreError, UsageError
from foal.shared.utterance import Utterance, write_manifest


@pytest.fixture
def manifest(tmp_path: Path, some_utterances: list[Utterance]) -> Path:
    """Eighteen utterances of a second each."""
    write_manifest(tmp_path / "m.csv", some_utterances)
    return tmp_path / "m.csv"


def write_arrays(folder: Path) -> Path:
    folder.mkdir()
    for number in range(18):
        np.save(folder / f"u{number}.npy", np.full((49, 6), number, np.float32))
    return folder


def text_file(path: Path) -> None:
    path.write_text("a text file that was given the wrong name\n" * 20)


def truncated(path: Path) -> None:
    np.save(path, np.ones((30, 6)))
    path.write_bytes(path.read_bytes()[:-5])


def torn_header(path: Path) -> None:
    np.save(path, np.ones((30, 6)))
    path.write_bytes(path.read_bytes().replace(b"(30", b"(3("))


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, np.ones((30, 6)))


def array(values: object, dtype: object = None) -> Callable[[Path], None]:
    return lambda path: np.save(path, np.array(values, dtype))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (text_file, r"expected a whole \.npy file of numbers"),
        (Path.touch, r"expected a whole \.npy file of numbers"),
        (truncated, r"expected a whole \.npy file of numbers"),
        (torn_header, r"expected a whole \.npy file of numbers"),
        (archive, r"expected a whole \.npy file of numbers"),
        (array([{"a": 1}], object), "Python objects"),
        (array(["a", "b"]), "expected an array of numbers, got one of type <U1"),
        (array([[1j] * 6]), "of type complex128"),
        (array([[True] * 6]), "of type bool"),
        (array(3.0), r"expected an array of shape \(width,\) or \(frames, width\), got \(\)"),
        (array([[[1.0] * 6]]), r"got \(1, 1, 6\)"),
        (array(np.zeros((0, 6))), r"empty array of shape \(0, 6\)"),
        (array([]), r"empty array of shape \(0,\)"),
        (array([[1.0, np.nan] * 3]), "NaN or infinite"),
        (array([[1.0, -np.inf] * 3], np.float16), "NaN or infinite"),
        (array([[1.0, -7e4] * 3]), r"too large for float16 \(70000\); set extract\.store to float32"),
        (array([[1.0] * 7]), r"expected 6 numbers per frame as in .*u0\.npy, got 7"),
    ],
)
def test_a_bad_file_is_named_before_anything_is_written(
    manifest: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    audio, face = write_arrays(tmp_path / "audio"), write_arrays(tmp_path / "face")
    (face / "u13.npy").unlink()
    spoil(face / "u13.npy")
    with pytest.raises(StoreError, match=words) as caught:
        import_features(tmp_path / "out", manifest, audio, face)
    assert str(face / "u13.npy") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "expected --audio DIR, --face DIR or both"),
        ({"face": "m.csv"}, "--face: expected a folder"),
        ({"audio": "audio", "face_rate": 3.0}, "--face-rate: expected --face DIR beside it"),
        ({"audio": "audio", "audio_rate": 0.0}, "--audio-rate: expected frames per second above 0, got 0"),
        ({"audio": "audio", "audio_rate": float("nan")}, "got nan"),
        ({"audio": "audio", "name": "a/b"}, "--name: expected a name such as clip"),
        ({"audio": "audio", "face": "audio", "name": "clip"}, "--name: expected one modality, got audio and face"),
        ({"audio": "audio", "out": "m.csv"}, "--out: expected a folder"),
        ({"audio": "audio", "store": "float8"}, "float8"),
    ],
)
def test_wrong_usage(manifest: Path, tmp_path: Path, options: dict[str, object], words: str) -> None:
    write_arrays(tmp_path / "audio")
    places = {key: tmp_path / str(options[key]) for key in ("audio", "face", "out") if key in options}
    with pytest.raises(UsageError, match=words):
        import_features(**{"out": tmp_path / "out", "manifest": manifest, **options, **places})  # type: ignore[arg-type]


def test_a_file_of_the_users_is_not_replaced(manifest: Path, tmp_path: Path) -> None:
    folder = write_arrays(tmp_path / "audio")
    (folder / "feats.h5").write_text("notes of mine")
    with pytest.raises(FoalError, match="to replace, or nothing, got another file"):
        import_features(folder, manifest, folder)
    assert (folder / "feats.h5").read_text() == "notes of mine"
