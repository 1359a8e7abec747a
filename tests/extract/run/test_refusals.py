"""A missing encoder, stream or scheduler ends the run with one message before any worker starts."""

import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from distributed import LocalCluster
from transformers import BertConfig, BertModel, Wav2Vec2Config, Wav2Vec2Model

from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance
from foal.tests.extract.encoders.small_wav2vec2 import SMALL

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """A folder with a valid audio file and its manifest."""
    soundfile.write(tmp_path / "tone.wav", np.sin(np.arange(8000) / 9) / 3, 16000)
    write_manifest(tmp_path / "m.csv", [Utterance(id="a", corpus="c", audio="tone.wav", video="tone.wav")])
    return tmp_path


def bert(folder: Path) -> None:
    small: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**small)).save_pretrained(folder)


def mismatched_weights(folder: Path) -> None:
    """The config.json of one model with the weights of another."""
    Wav2Vec2Model(Wav2Vec2Config(**{**SMALL, "hidden_size": 32})).save_pretrained(folder)
    weights = (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder)
    Wav2Vec2Model(Wav2Vec2Config(**SMALL)).save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(weights)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (None, ["--audio-encoder", "nobody/nothing"], "could not be downloaded"),
        (Path.mkdir, ["--audio-encoder", "model"], "expected config.json and model.safetensors"),
        (bert, ["--audio-encoder", "model"], "expected a model of type wav2vec2"),
        (mismatched_weights, ["--audio-encoder", "model"], "the weights cannot be loaded"),
        (None, ["--layers", "0,7"], "random:tiny has 2 layers: expected numbers from 0"),
        (None, ["--layers", "first"], "extract.audio.layers"),
        (bert, ["--face-encoder", "model"], "expected a vision model"),
        (None, ["--face-encoder", "nobody.pt"], "unknown face encoder"),
        (None, ["--region", "profile"], "extract.face.region"),
        (None, ["--streams", "face/clip"], "expected some of audio, face, text, got face/clip"),
        (None, ["--set", "extract.encoders={face/x: {fsp: 3}}"], "did you mean 'fps'"),
        (None, ["--set", "extract.encoders={smell/x: {}}"], "expected names like face/clip"),
        (None, ["--set", "extract.encoders={face/same: {}}", "--streams", "face,face/same"], "are the same features"),
        (None, ["--set", "cluster.device=cuda"], "PyTorch finds 0 GPUs"),
    ],
)
def test_invalid_encoders_and_streams_are_reported_before_any_chunk_is_extracted(
    foal_here: Foal,
    tone: Path,
    make: Callable[[Path], None] | None,
    options: list[str],
    message: str,
    scheduler: str,
) -> None:
    if "cuda" in message.lower() + str(options) and torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    if make is not None:
        make(tone / "model")
    # These encoders are refused when a worker loads them.
    loading = ["--scheduler", scheduler] if make in (bert, mismatched_weights) else []
    done = foal_here("extract", "-s", "all", "-m", "m.csv", "-r", ".", *options, *loading)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "chunks on" not in done.stdout
    assert not (tone / "features").exists()


def test_a_missing_scheduler_is_refused_and_one_without_workers_after_the_wait(
    foal_here: Foal, tone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foal.shared.parallel.cluster.CONNECT_TIMEOUT", 1)
    options = ["-s", "all", "-m", "m.csv", "-r", ".", "--streams", "audio"]
    # No other process can listen on a bound port.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        done = foal_here("extract", *options, "--scheduler", f"tcp://127.0.0.1:{bound.getsockname()[1]}")
    assert done.returncode == 2
    assert "expected a running Dask scheduler, got none" in done.stderr
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster:
        done = foal_here("extract", *options, "--scheduler", cluster.scheduler_address, "--wait-workers", "0")
    assert done.returncode == 1
    assert "for workers: 0 running. Finished work is kept" in done.stderr
    assert not (tone / "features").exists()


def test_face_features_need_videos_in_the_manifest(foal_here: Foal, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", [Utterance(id="a", corpus="c", audio="tone.wav")])
    done = foal_here("extract", "-s", "all", "-m", "m.csv", "-r", ".", "--region", "frame")
    assert done.returncode == 2
    assert "face features need the column video, which is empty in all 1 rows" in done.stderr
    assert "--streams audio" in done.stderr


def test_rows_without_media_are_refused_before_anything_is_written(tone: Path, foal_here: Foal) -> None:
    rows = [Utterance(id="a", corpus="c", audio="tone.wav"), Utterance(id="b", corpus="c", label="hap")]
    write_manifest(tone / "m.csv", rows)
    done = foal_here("extract", "--manifest", "m.csv", "--root", ".", "--split", "all")
    assert done.returncode == 1
    assert "m.csv: expected a media file in audio or video, or a transcript, got none of them for 1 utt" in done.stderr
    assert not (tone / "features").exists()
