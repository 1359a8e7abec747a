"""Several encoders, batches, fingerprints and damaged videos, from the command to the feature store."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.index_reader import read_index_header
from foal.shared.utterance import Utterance
from foal.tests.extract.encoders.small_wav2vec2 import SMALL

pytestmark = pytest.mark.slow

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def wav2vec2(tmp_path: Path) -> Path:
    """A model with group normalization, whose output depends on padding unless it is masked."""
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**SMALL, feat_extract_norm="group")).save_pretrained(tmp_path / "wav2vec2")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "wav2vec2")
    return tmp_path / "wav2vec2"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=12,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "clip")
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


@pytest.fixture
def corpus(tmp_path: Path, synthetic_corpus: Path, foal_here: Foal) -> Path:
    """A folder with the manifest of one synthetic session."""
    assert foal_here("manifest", "synthetic", synthetic_corpus, "-o", "all.csv").returncode == 0
    write_manifest(tmp_path / "m.csv", [u for u in read_manifest(tmp_path / "all.csv") if u.session == "session1"])
    return tmp_path


def test_several_face_encoders_are_extracted_and_an_unknown_one_is_refused_for_training(
    foal_here: Foal, corpus: Path, synthetic_corpus: Path, clip: Path, scheduler: str
) -> None:
    (corpus / "params.yaml").write_text(
        f"corpus: {{manifest: m.csv, root: {synthetic_corpus}}}\n"
        f"cluster: {{scheduler: {scheduler}}}\nextract:\n  streams: [audio, face, face/clip, face/half]\n"
        f"  encoders:\n    face/clip: {{encoder: {clip}, region: frame, fps: 5}}\n"
        "    face/half: {region: crop}\n"
    )
    done = foal_here("extract", "--split", "all")
    assert done.returncode == 0, done.stderr
    with FeatureStore(corpus / "feats.h5") as store:
        assert list(store.streams) == ["audio", "face", "face/clip", "face/half"]
        assert store.streams["face/clip"].frame_shape == (12,)
        assert store.streams["face/clip"].rate_hz == 5
        assert store.streams["face/clip"].config["region"] == "frame"
        assert "detect_stride" not in store.streams["face/clip"].config
        seconds = np.array([utterance.seconds or 0 for utterance in store.utterances])
        np.testing.assert_allclose(store.lengths("face/clip"), seconds * 5, atol=1)
        np.testing.assert_allclose(store.quality("face/clip")["face_rate"], 1)
        face, cropped = store.packed("face"), store.packed("face/half")
        assert not np.allclose(face.values[face.valid], cropped.values[face.valid])
        # Only the region `face` stores face boxes.
        assert store.boxes("face", 0) is not None
        assert store.boxes("face/clip", 0) is None
        quality = store.quality("audio")
        assert (quality["clipping"] == 0).all()
        assert ((quality["silence"] >= 0) & (quality["silence"] < 0.9)).all()

    repeated = foal_here("extract", "--split", "all")
    assert "All features are up to date." in repeated.stdout
    selected = foal_here("extract", "--split", "all", "--streams", "face/clip")
    assert selected.returncode == 0
    with FeatureStore(corpus / "feats.h5") as store:
        assert list(store.streams) == ["audio", "face", "face/clip", "face/half"]

    unknown = foal_here("train", "--streams", "audio,face/dino")
    assert unknown.returncode == 1
    assert "expected face features named face/dino, got only audio, face, face/clip, face/half" in unknown.stderr


def test_batches_on_two_workers_equal_single_utterances_on_one_worker(
    foal_here: Foal, corpus: Path, synthetic_corpus: Path, wav2vec2: Path, scheduler: str
) -> None:
    """The relative difference is at most 1e-5 for any batch size, order and number of workers."""
    options = [
        "extract",
        "-s",
        "all",
        "-m",
        "m.csv",
        "-r",
        synthetic_corpus,
        "--streams",
        "audio",
        "--audio-encoder",
        wav2vec2,
        "--layers",
        "all",
        "--dtype",
        "float32",
        "--set",
        "extract.audio.max_seconds=2",
    ]
    single = foal_here(*options, "--features-dir", "one", "--scheduler", scheduler)
    parallel = foal_here(
        *options, "--features-dir", "two", "-j", "2", "--set", "extract.batch_seconds=7", "--chunk-seconds", "5"
    )
    assert (single.returncode, parallel.returncode) == (0, 0), parallel.stderr
    with FeatureStore(corpus / "one" / "feats.h5") as first, FeatureStore(corpus / "two" / "feats.h5") as second:
        assert first.streams["audio"].config_hash == second.streams["audio"].config_hash
        assert first.streams["audio"].frame_shape == (3, 16)
        for row in range(len(first)):
            alone, batched = first.packed("audio", [row]).values, second.packed("audio", [row]).values
            assert np.linalg.norm(alone - batched) <= 1e-5 * np.linalg.norm(alone)


def test_the_digest_depends_neither_on_the_length_of_chunks_nor_on_lost_shards(
    foal_here: Foal, corpus: Path, synthetic_corpus: Path, scheduler: str
) -> None:
    options = ["extract", "-s", "all", "-m", "m.csv", "-r", synthetic_corpus, "--scheduler", scheduler]

    def digest(folder: str, *more: str) -> str:
        done = foal_here(*options, "--features-dir", folder, *more)
        assert done.returncode == 0, done.stderr
        return read_index_header(corpus / folder / "feats.h5").digest

    automatic = digest("automatic")
    assert digest("short", "--chunk-seconds", "1") == automatic
    shards = sorted((corpus / "short").glob("session1/audio-*/*.h5"))
    assert len(shards) == 4
    for path in shards[1:]:
        path.unlink()
    assert digest("short") == automatic
    assert len(list(shards[0].parent.glob("*.h5"))) == 2, "the utterances of the lost shards are in one now"


def test_content_fingerprints_detect_changed_bytes(foal_here: Foal, tmp_path: Path, scheduler: str) -> None:
    audio, options = tmp_path / "tone.wav", ["extract", "-s", "all", "-m", "m.csv", "-r", ".", "--streams", "audio"]
    options += ["--fingerprint", "content", "--scheduler", scheduler]
    write_manifest(tmp_path / "m.csv", [Utterance(id="a", corpus="c", audio="tone.wav")])
    soundfile.write(audio, np.sin(np.arange(8000) / 9) / 3, 16000)
    assert foal_here(*options).returncode == 0
    os.utime(audio, (1, 1))
    touched = foal_here(*options)
    assert "All features are up to date." in touched.stdout, "only the modification time changed"
    before = audio.stat()
    soundfile.write(audio, np.sin(np.arange(8000) / 7) / 3, 16000)
    os.utime(audio, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert audio.stat().st_size == before.st_size
    changed = foal_here(*options)
    assert "0 of 1 utterances already extracted" in changed.stdout, "same size and time, but different content"


def test_a_video_that_decord_cannot_decode_changes_no_other_video(
    foal_here: Foal, tmp_path: Path, make_video: Callable[..., Path], scheduler: str
) -> None:
    """The chunk is repeated with PyAV for this file only, so the batches of other files do not depend on timing."""
    intact = make_video(tmp_path / "intact.mp4", frames=50)
    damaged = make_video(tmp_path / "damaged.mp4", frames=60, b_frames=2, damaged=slice(20, 24))
    rows = [Utterance(id=path.stem, corpus="c", video=path.name) for path in (damaged, intact)]
    options = ["-r", ".", "--streams", "face", "--region", "frame", "--fps", "25", "--scheduler", scheduler]
    for name, selection in (("both", rows), ("alone", rows[1:])):
        write_manifest(tmp_path / f"{name}.csv", selection)
        done = foal_here("extract", "-s", "all", "-m", f"{name}.csv", *options, "--features-dir", name)
        assert done.returncode == 0, done.stderr
    with FeatureStore(tmp_path / "both" / "feats.h5") as both, FeatureStore(tmp_path / "alone" / "feats.h5") as alone:
        assert both.notes("face")[0].startswith("only ")
        assert 20 <= both.valid_frames("face")[0] < 60
        assert both.valid_frames("face")[1] == 50
        actual, expected = both.packed("face", [1]).values, alone.packed("face", [0]).values
        np.testing.assert_allclose(actual.astype(float), expected.astype(float), rtol=1e-2, atol=1e-3)
