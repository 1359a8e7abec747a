"""Several encoders side by side, batches through Dask, and settings that cannot be had: through the command."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from distributed import LocalCluster
from transformers import (
    BertConfig,
    BertModel,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)  # fmt: skip

from foal.shared.index import FeatureStore
from foal.shared.utterance import Utterance, read_manifest, write_manifest

pytestmark = pytest.mark.slow

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


@pytest.fixture
def wav2vec2(tmp_path: Path) -> Path:
    """A "group norm" model, of the kind that a padded batch would change."""
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**SMALL, feat_extract_norm="group")).save_pretrained(tmp_path / "wav2vec2")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "wav2vec2")
    return tmp_path / "wav2vec2"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8,
        projection_dim=12,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "clip")
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


@pytest.fixture
def corpus(tmp_path: Path, synthetic_corpus: Path, foal: Foal) -> Path:
    """The manifest of one drawn session."""
    assert foal("manifest", "synthetic", synthetic_corpus, "-o", "all.csv").returncode == 0
    write_manifest(tmp_path / "m.csv", [u for u in read_manifest(tmp_path / "all.csv") if u.session == "session1"])
    return tmp_path


def test_two_face_encoders_side_by_side_and_training_picks_one(
    foal: Foal, corpus: Path, synthetic_corpus: Path, clip: Path
) -> None:
    (corpus / "params.yaml").write_text(
        f"corpus: {{manifest: m.csv, root: {synthetic_corpus}}}\n"
        "extract:\n  modalities: [audio, face, face/clip, face/half]\n"
        f"  streams:\n    face/clip: {{encoder: {clip}, view: frame, fps: 5}}\n"
        "    face/half: {view: crop}\n"
    )
    done = foal("extract", "--split", "all")
    assert done.returncode == 0, done.stderr
    with FeatureStore(corpus / "feats.h5") as store:
        assert list(store.modalities) == ["audio", "face", "face/clip", "face/half"]
        assert store.modalities["face/clip"].frame_shape == (12,)
        assert store.modalities["face/clip"].rate_hz == 5
        assert store.modalities["face/clip"].config["view"] == "frame"
        assert "detect_every" not in store.modalities["face/clip"].config
        seconds = np.array([utterance.seconds or 0 for utterance in store.utterances])
        np.testing.assert_allclose(store.lengths("face/clip"), seconds * 5, atol=1)
        np.testing.assert_allclose(store.quality("face/clip")["face_rate"], 1)
        face, half = store.packed("face"), store.packed("face/half")
        assert not np.allclose(face.values[face.valid], half.values[face.valid])
        # Where the person's part is cut out, the whole frame holds the other one as well.
        assert store.boxes("face", 0) is not None
        assert store.boxes("face/clip", 0) is None
        quality = store.quality("audio")
        assert (quality["clipping"] == 0).all()
        assert ((quality["silence"] >= 0) & (quality["silence"] < 0.9)).all()

    again = foal("extract", "--split", "all")
    assert "nothing is left to do" in again.stdout
    only = foal("extract", "--split", "all", "--modalities", "face/clip")
    assert only.returncode == 0
    with FeatureStore(corpus / "feats.h5") as store:
        assert list(store.modalities) == ["audio", "face", "face/clip", "face/half"]

    # Two folds, as one session has none to leave out.
    rows = read_manifest(corpus / "m.csv")
    from dataclasses import replace

    write_manifest(corpus / "m.csv", [replace(u, fold=f"f{number % 3}") for number, u in enumerate(rows)])
    assert foal("index").returncode == 0
    trained = foal(
        "train", "--face", "face/clip", "--set", "train.epochs=1", "--out", "run", "--set", "train.bootstrap=10"
    )
    assert trained.returncode in (0, 1)
    if trained.returncode == 0:
        assert '"face/clip"' in (corpus / "run" / "metrics.json").read_text()
    wrong = foal("train", "--face", "face/dino")
    assert wrong.returncode == 1
    assert "expected face features called face/dino, got only audio, face, face/clip, face/half" in wrong.stderr


def test_batches_on_two_workers_equal_one_by_one_on_one(
    foal: Foal, corpus: Path, synthetic_corpus: Path, wav2vec2: Path
) -> None:
    """Promise: 1e-5, any batch size, any order, 1 or 2 workers; here from the command to the shards."""
    usual = [
        "extract", "-s", "all", "-m", "m.csv", "-r", synthetic_corpus, "--modalities", "audio", "--audio-encoder",
        wav2vec2, "--layers", "all", "--store", "float32", "--set", "extract.audio.max_seconds=2",
    ]  # fmt: skip
    one = foal(*usual, "--features", "one", "-j", "1")
    two = foal(*usual, "--features", "two", "-j", "2", "--set", "extract.batch_seconds=7", "--chunk-seconds", "5")
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    with FeatureStore(corpus / "one" / "feats.h5") as first, FeatureStore(corpus / "two" / "feats.h5") as second:
        assert first.modalities["audio"].key == second.modalities["audio"].key
        assert first.modalities["audio"].frame_shape == (3, 16)
        for row in range(len(first)):
            alone, batched = first.packed("audio", [row]).values, second.packed("audio", [row]).values
            assert np.linalg.norm(alone - batched) <= 1e-5 * np.linalg.norm(alone)


def test_workers_of_a_scheduler_that_is_running_already(foal: Foal, corpus: Path, synthetic_corpus: Path) -> None:
    usual = ["extract", "-s", "all", "-m", "m.csv", "-r", synthetic_corpus]
    assert foal(*usual, "--features", "own").returncode == 0
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as cluster:
        done = foal(*usual, "--features", "theirs", "--scheduler", cluster.scheduler_address)
        assert done.returncode == 0, done.stderr
        assert f"on the workers of {cluster.scheduler_address}" in done.stdout
        address = cluster.scheduler_address
    with FeatureStore(corpus / "own" / "feats.h5") as own, FeatureStore(corpus / "theirs" / "feats.h5") as theirs:
        for stream in own.modalities:
            one, other = own.packed(stream), theirs.packed(stream)
            np.testing.assert_array_equal(one.offsets, other.offsets)
            # Two threads in one worker instead of one in two: the last bits of sums differ.
            np.testing.assert_allclose(one.values.astype(float), other.values.astype(float), rtol=0.01, atol=1e-3)
    gone = foal(*usual, "--features", "none", "--scheduler", address)
    assert gone.returncode == 2
    assert "expected a running Dask scheduler, got none" in gone.stderr


def test_a_dry_run_says_what_would_be_done_and_does_nothing(foal: Foal, corpus: Path, synthetic_corpus: Path) -> None:
    done = foal("extract", "-s", "session1", "-m", "m.csv", "-r", synthetic_corpus, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "left to extract" in done.stdout
    assert f" {len(read_manifest(corpus / 'm.csv'))} " in done.stdout
    assert "workers" in done.stdout
    assert "unknown" not in done.stdout
    assert not (corpus / "features").exists()
    assert not (corpus / "feats.h5").exists()


def test_content_fingerprints_look_into_the_file(foal: Foal, tmp_path: Path) -> None:
    sound, usual = tmp_path / "tone.wav", ["extract", "-s", "all", "-m", "m.csv", "-r", ".", "--modalities", "audio"]
    write_manifest(tmp_path / "m.csv", [Utterance(id="a", corpus="c", audio="tone.wav")])
    soundfile.write(sound, np.sin(np.arange(8000) / 9) / 3, 16000)
    assert foal(*usual, "--fingerprint", "content").returncode == 0
    os.utime(sound, (1, 1))
    copied = foal(*usual, "--fingerprint", "content")
    assert "nothing is left to do" in copied.stdout, "a new time alone is no change"
    before = sound.stat()
    soundfile.write(sound, np.sin(np.arange(8000) / 7) / 3, 16000)
    os.utime(sound, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sound.stat().st_size == before.st_size
    changed = foal(*usual, "--fingerprint", "content")
    assert "0 of 1 utterances already extracted" in changed.stdout, "size and time are the same, the content is not"


def test_a_video_that_decord_gives_up_on_changes_no_other(
    foal: Foal, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    """Its chunk is begun anew with PyAV for it: what was batched with its pictures depended on the time."""
    sound = make_video(tmp_path / "sound.mp4", frames=50)
    damaged = make_video(tmp_path / "damaged.mp4", frames=60, b_frames=2, damaged=slice(20, 24))
    rows = [Utterance(id=path.stem, corpus="c", video=path.name) for path in (damaged, sound)]
    usual = ["-r", ".", "--modalities", "face", "--view", "frame", "--fps", "25", "-j", "1"]
    for name, some in (("both", rows), ("alone", rows[1:])):
        write_manifest(tmp_path / f"{name}.csv", some)
        done = foal("extract", "-s", "all", "-m", f"{name}.csv", *usual, "--features", name)
        assert done.returncode == 0, done.stderr
    with FeatureStore(tmp_path / "both" / "feats.h5") as both, FeatureStore(tmp_path / "alone" / "feats.h5") as alone:
        assert both.notes("face")[0].startswith("only ")
        assert 20 <= both.valid_frames("face")[0] < 60
        assert both.valid_frames("face")[1] == 50
        one, other = both.packed("face", [1]).values, alone.packed("face", [0]).values
        np.testing.assert_allclose(one.astype(float), other.astype(float), rtol=1e-2, atol=1e-3)


def bert(folder: Path) -> None:
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**small)).save_pretrained(folder)


def shapeless(folder: Path) -> None:
    """config.json of one model, weights of another."""
    Wav2Vec2Model(Wav2Vec2Config(**{**SMALL, "hidden_size": 32})).save_pretrained(folder)
    weights = (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder)
    Wav2Vec2Model(Wav2Vec2Config(**SMALL)).save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(weights)


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (None, ["--audio-encoder", "nobody/nothing"], "could not be downloaded"),
        (Path.mkdir, ["--audio-encoder", "model"], "expected config.json and model.safetensors"),
        (bert, ["--audio-encoder", "model"], "expected a model of type wav2vec2"),
        (shapeless, ["--audio-encoder", "model"], "the weights cannot be loaded"),
        (None, ["--layers", "0,7"], "random:tiny has 2 layers: expected numbers from 0"),
        (None, ["--layers", "first"], "extract.audio.layers"),
        (bert, ["--face-encoder", "model"], "expected a vision model"),
        (None, ["--face-encoder", "nobody.pt"], "unknown face encoder"),
        (None, ["--view", "profile"], "extract.face.view"),
        (None, ["--modalities", "face/clip"], "expected some of audio, face, got face/clip"),
        (None, ["--set", "extract.streams={face/x: {fsp: 3}}"], "did you mean fps"),
        (None, ["--set", "extract.streams={smell/x: {}}"], "expected names like face/clip"),
        (None, ["--set", "extract.streams={face/same: {}}", "--modalities", "face,face/same"], "are the same features"),
        (None, ["--set", "extract.device=cuda"], "expected a GPU"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_said_before_any_worker_starts(
    foal: Foal, tmp_path: Path, make: Callable[[Path], None] | None, options: list[str], words: str
) -> None:
    if "cuda" in words.lower() + str(options) and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    soundfile.write(tmp_path / "tone.wav", np.sin(np.arange(8000) / 9) / 3, 16000)
    write_manifest(tmp_path / "m.csv", [Utterance(id="a", corpus="c", audio="tone.wav", video="tone.wav")])
    if make is not None:
        make(tmp_path / "model")
    done = foal("extract", "-s", "all", "-m", "m.csv", "-r", ".", *options)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "chunks on" not in done.stdout
    assert not (tmp_path / "features").exists()


def test_a_view_without_videos(foal: Foal, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", [Utterance(id="a", corpus="c", audio="tone.wav")])
    done = foal("extract", "-s", "all", "-m", "m.csv", "-r", ".", "--view", "frame")
    assert done.returncode == 2
    assert "face features need the column video, which is empty in all 1 rows" in done.stderr
    assert "--modalities audio" in done.stderr
