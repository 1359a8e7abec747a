"""`foal import` refuses options and inputs that do not fit with one message."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A manifest without media, and an input of every kind."""
    write_manifest(tmp_path / "m.csv", [Utterance(id=name, corpus="c", label="hap") for name in ("u0", "u1")])
    for name, values in (("good", np.ones(3)), ("nan", np.full(3, np.nan)), ("text", np.array(["a"]))):
        (tmp_path / name).mkdir()
        for utterance in ("u0", "u1"):
            np.save(tmp_path / name / f"{utterance}.npy", values)
    np.savez(tmp_path / "mosi.npz", id=["u0", "u1"], audio=np.ones((2, 4, 3)))
    (tmp_path / "mosi.pkl").write_bytes(pickle.dumps({"train": {}}))
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "state.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "expected one or several of --audio PATH, --face PATH and --text PATH, got none"),
        (["--audio", "absent"], 1, "--audio: absent: no such folder"),
        (["--audio", "mosi.npz"], 2, "got mosi.npz; containers such as .npz are read with --format mmsa"),
        (["--audio", "dataset"], 2, "got a dataset in dataset; use --format datasets"),
        (["--format", "mmsa", "--audio", "good"], 2, "good: expected an .npz file, got a folder"),
        (["--format", "mmsa", "--audio", "mosi.pkl"], 2, "mosi.pkl: expected an .npz file, got a pickle; foal never"),
        (["--format", "mmsa", "--face", "mosi.npz"], 2, "expected an array vision or train/vision, got id, audio"),
        (["--format", "mmsa", "--audio", "mosi.npz"], 2, "m.csv has no end times for their utterances; give"),
        (["--format", "datasets", "--audio", "mosi.npz"], 2, "expected a folder of .arrow or .parquet files, got mosi"),
        (["--audio", "good", "--audio-key", "x"], 2, "--audio-key: expected --format mmsa or datasets"),
        (["--audio", "good", "--face-rate", "5"], 2, "--face-rate: expected --face PATH as well, got none"),
        (["--audio", "nan"], 1, "NaN or infinite ones in 1 of 1 frames; correct them, or mark"),
        (["--audio", "text"], 1, "expected an array of numbers, got one of type <U1"),
        (["--audio", "good", "--nan", "zero"], 2, "'zero' is not one of 'refuse', 'invalid'"),
    ],
)
def test_bad_input_is_one_message(
    inputs: Path, foal_here: Callable[..., Any], options: list[str], code: int, message: str
) -> None:
    done = foal_here("import", "--manifest", "m.csv", "--out", "out", *options)
    assert done.returncode == code, done.stderr
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not (inputs / "out").exists()


def test_vectors_need_neither_media_nor_a_rate(inputs: Path, foal_here: Callable[..., Any]) -> None:
    (inputs / "m.csv").write_text("id,corpus,session,speaker,gender,label\nu0,c,,s,,hap\nu1,c,,s,,sad\n")
    done = foal_here("import", "--manifest", "m.csv", "--audio", "good", "--out", "out")
    assert done.returncode == 0, done.stderr
    done = foal_here("import", "--manifest", "m.csv", "--face", "nan", "--nan", "invalid", "--out", "out")
    assert done.returncode == 1
    assert "no frame has data: 0 of zeros, 2 with NaN" in done.stderr
