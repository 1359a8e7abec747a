"""Unreadable, missing and changed media files, and their effect on their own and other utterances."""

import csv
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

pytestmark = pytest.mark.slow

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def mixed(tmp_path: Path, synthetic_corpus: Path, make_video: Callable[..., Path]) -> Path:
    """A corpus of one intact utterance and one for each kind of defect."""
    root = tmp_path / "media"
    root.mkdir()
    dialog = sorted(synthetic_corpus.glob("Session1/dialog/avi/DivX/*.avi"))[0]
    shutil.copy(dialog, root / "talk.avi")
    soundfile.write(root / "tone.wav", np.sin(np.arange(24000) / 20) / 3, 16000)
    make_video(root / "faceless.mp4", frames=25, audio_hz=44100)
    make_video(root / "silent.mp4", frames=25)
    (root / "words.mp4").write_text("a text file that was given the wrong name\n" * 20)
    rows = [
        ("good", "tone.wav", "talk.avi", "left"),
        ("faceless", "faceless.mp4", "faceless.mp4", "full"),
        ("silent", "silent.mp4", "silent.mp4", "full"),
        ("no-video", "tone.wav", "", "full"),
        ("no-audio", "", "talk.avi", "right"),
        ("words", "words.mp4", "words.mp4", "full"),
        ("gone", "tone.wav", "gone.mp4", "full"),
    ]
    write_manifest(
        tmp_path / "m.csv",
        [
            Utterance(id=name, corpus="mixed", label="hap", audio=audio, video=video, crop=crop, start=0.0, end=1.0)
            for name, audio, video, crop in rows
        ],
    )
    return tmp_path


def test_damaged_media_fail_only_their_own_utterances(foal_here: Foal, mixed: Path, scheduler: str) -> None:
    done = foal_here("extract", "--split", "all", "-m", "m.csv", "-r", "media", "--scheduler", scheduler)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    with FeatureStore(mixed / "feats.h5") as store:
        ids = [utterance.id for utterance in store.utterances]
        assert ids == ["good", "faceless", "silent", "no-video", "no-audio"]
        audio, face = (
            dict(zip(ids, store.valid_frames("audio"), strict=True)),
            dict(zip(ids, store.valid_frames("face"), strict=True)),
        )
        notes = dict(zip(ids, zip(store.notes("audio"), store.notes("face"), strict=True), strict=True))
    assert {name for name, frames in audio.items() if frames} == {"good", "faceless", "no-video"}
    assert {name for name, frames in face.items() if frames} == {"good", "no-audio"}
    assert notes["faceless"] == ("", "no face found")
    assert notes["silent"][0] == "no audio track"
    assert notes["no-video"][1] == "no video in the manifest"
    assert notes["no-audio"][0] == "no audio in the manifest"
    with (mixed / "features" / "mixed" / "failures.csv").open() as file:
        failures = {(row["id"], row["stream"]): row for row in csv.DictReader(file)}
    assert set(failures) == {("words", "audio"), ("words", "face"), ("gone", "face")}
    assert failures["gone", "face"]["reason"] == "no such file"
    assert all(row["remedy"] for row in failures.values())

    shutil.copy(mixed / "media" / "talk.avi", mixed / "media" / "gone.mp4")
    shutil.copy(mixed / "media" / "silent.mp4", mixed / "media" / "words.mp4")
    done = foal_here("extract", "--split", "all", "-m", "m.csv", "-r", "media", "--scheduler", scheduler)
    assert done.returncode == 0, done.stderr
    assert not (mixed / "features" / "mixed" / "failures.csv").exists()
    with FeatureStore(mixed / "feats.h5") as store:
        assert len(store) == 7


def test_truncated_files_are_marked_with_the_missing_share(foal_here: Foal, mixed: Path, scheduler: str) -> None:
    write_manifest(
        mixed / "m.csv",
        [
            Utterance(id=name, corpus="mixed", label="hap", audio=f"{name}.wav", video=f"{name}.avi", crop="left")
            for name in ("intact", "cut")
        ],
    )
    for name in ("intact", "cut"):
        shutil.copy(mixed / "media" / "tone.wav", mixed / "media" / f"{name}.wav")
        shutil.copy(mixed / "media" / "talk.avi", mixed / "media" / f"{name}.avi")
    os.truncate(mixed / "media" / "cut.wav", 44 + 2 * 9600)
    os.truncate(mixed / "media" / "cut.avi", (mixed / "media" / "cut.avi").stat().st_size // 4)
    done = foal_here("extract", "--split", "all", "-m", "m.csv", "-r", "media", "--scheduler", scheduler, "--fps", "2")
    assert done.returncode == 0, done.stderr
    with FeatureStore(mixed / "feats.h5") as store:
        assert store.quality("audio")["decoded"].tolist() == pytest.approx([1.0, 0.4])
        intact, cut = store.quality("face")["decoded"].tolist()
        notes = store.notes("audio"), store.notes("face")
        frames = store.lengths("face").tolist()
    assert intact == 1.0
    assert 0.05 < cut < 0.5
    assert notes[0] == ["", "only 0.60 of 1.50 s of audio could be decoded"]
    assert notes[1][1] == f"only {round(cut * frames[0])} of {frames[0]} frames could be decoded"
    done = foal_here("inspect")
    assert done.stdout.count("; 1 of 2 only partly decoded (cut)") == 2


def test_a_changed_media_file_is_extracted_again(foal_here: Foal, mixed: Path, scheduler: str) -> None:
    def extract_audio() -> dict[str, np.ndarray]:
        done = foal_here(
            "extract", "--split", "all", "-m", "m.csv", "-r", "media", "--scheduler", scheduler, "--streams", "audio"
        )
        assert done.returncode == 0, done.stderr
        with FeatureStore(mixed / "feats.h5") as store:
            return {u.id: store.packed("audio", [row]).values for row, u in enumerate(store.utterances)}

    kept = [u for u in read_manifest(mixed / "m.csv") if u.id in ("good", "no-video", "faceless")]
    write_manifest(mixed / "m.csv", kept)
    before = extract_audio()
    # Changed twice, since the newer features must be used whatever the order of the shards.
    for factor in (7, 11):
        soundfile.write(mixed / "media" / "tone.wav", np.sin(np.arange(25000) / factor) / 3, 16000)
        after = extract_audio()
        assert np.array_equal(after["faceless"], before["faceless"])
        assert not np.array_equal(after["good"], before["good"])
        assert np.array_equal(after["good"], after["no-video"])
        before = after


def test_the_index_excludes_features_of_changed_media(foal_here: Foal, mixed: Path, scheduler: str) -> None:
    write_manifest(mixed / "m.csv", [u for u in read_manifest(mixed / "m.csv") if u.id in ("good", "faceless")])
    command = ["extract", "-s", "all", "-m", "m.csv", "-r", "media", "--streams", "audio", "--scheduler", scheduler]
    tone = mixed / "media" / "tone.wav"

    def indexed() -> dict[str, np.ndarray]:
        with FeatureStore(mixed / "feats.h5") as store:
            return {u.id: store.packed("audio", [row]).values for row, u in enumerate(store.utterances)}

    assert foal_here(*command).returncode == 0
    before = indexed()
    shutil.copy2(tone, mixed / "kept.wav")
    soundfile.write(tone, np.sin(np.arange(25000) / 7) / 3, 16000)
    assert foal_here(*command).returncode == 0
    tone.write_text("no sound any more")
    assert foal_here(*command).returncode == 3
    assert set(indexed()) == {"faceless"}
    shutil.copy2(mixed / "kept.wav", tone)
    done = foal_here(*command)
    assert "All features are up to date." in done.stdout
    assert np.array_equal(indexed()["good"], before["good"])


def test_a_run_without_any_readable_file_fails(foal_here: Foal, mixed: Path, scheduler: str) -> None:
    write_manifest(mixed / "m.csv", [u for u in read_manifest(mixed / "m.csv") if u.id == "words"])
    done = foal_here("extract", "--split", "all", "-m", "m.csv", "-r", "media", "--scheduler", scheduler)
    assert done.returncode == 1
    assert "none of the 1 utterances could be extracted" in done.stderr
    assert not (mixed / "feats.h5").exists()
    assert not list((mixed / "features").rglob("*.h5"))


def test_a_missing_corpus_root_is_reported(foal_here: Foal, mixed: Path) -> None:
    done = foal_here("extract", "--split", "all", "-m", "m.csv", "-r", "nowhere")
    assert done.returncode == 1
    assert "nowhere: expected the corpus root" in done.stderr
    assert "but it does not exist; give the folder that these paths are relative to" in done.stderr
    assert not (mixed / "features").exists()


def test_a_root_one_level_wrong_is_refused_before_any_worker_starts(foal_here: Foal, mixed: Path) -> None:
    (mixed / "media" / "empty").mkdir()
    for root in (".", "media/empty"):
        for options in ([], ["--dry-run"]):
            done = foal_here("extract", "--split", "all", "-m", "m.csv", "-r", root, *options)
            assert done.returncode == 1
            tried = "tone.wav" if root == "." else f"{root}/tone.wav"
            assert f"but none of the 6 files exists below it; tried {tried}; " in done.stderr
            assert "did you mean --root media?" in done.stderr
    assert not list(mixed.rglob("*.h5"))


def test_a_dry_run_says_that_failures_are_tried_again_under_another_root(
    foal_here: Foal, mixed: Path, scheduler: str
) -> None:
    command = ["extract", "-s", "all", "-m", "m.csv", "--streams", "audio", "--scheduler", scheduler]
    shutil.copytree(mixed / "media", mixed / "other")
    (mixed / "other" / "tone.wav").unlink()
    assert foal_here(*command, "-r", "other").returncode == 3
    same = foal_here(*command, "-r", "other", "--dry-run").stdout
    assert "Nothing is left to extract but " in same
    assert "under another --root that has them" in same
    right = foal_here(*command, "-r", "media", "--dry-run").stdout
    assert "3 utterances (good, no-video, gone) failed before and will be tried again: " in right
    assert "exist under this root" in right
