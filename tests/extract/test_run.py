"""The spine of extraction on real files, with real Dask workers, through the command."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
import soundfile

from foal.shared.index import FeatureStore
from foal.shared.shard import ShardReader
from foal.shared.utterance import Utterance, read_manifest, write_manifest

pytestmark = pytest.mark.slow

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def extracted(synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the manifest, shards and index of the drawn corpus' first two sessions; read only."""
    folder = tmp_path_factory.mktemp("extracted")
    run(folder, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv")
    done = run(folder, "extract", "--split", "session1,session2", "-m", "m.csv", "-r", synthetic_corpus)
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from foal.shared.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def alive_in_group(group: int) -> list[str]:
    """What still runs of a process group; a zombie only waits to be noticed."""
    found = []
    for process in psutil.process_iter(["pid", "status", "cmdline"]):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.info["cmdline"] or []))
    return found


def all_values(features: Path) -> dict[Path, bytes]:
    values = {}
    for path in sorted(features.rglob("*.h5")):
        with h5py.File(path) as file:
            values[path.relative_to(features)] = file["values"][:].tobytes()
    return values


def test_every_utterance_has_both_modalities(extracted: Path) -> None:
    wanted = [u for u in read_manifest(extracted / "m.csv") if u.split in ("session1", "session2")]
    with FeatureStore(extracted / "feats.h5") as store:
        assert list(store.utterances) == wanted
        assert store.random_weights
        for row, utterance in enumerate(wanted):
            seconds = utterance.seconds or 0.0
            assert abs(store.lengths("audio")[row] - ((seconds * 16000 - 400) // 320 + 1)) <= 1
            assert store.lengths("face")[row] == max(1, int(seconds * 10 + 0.5))
        assert store.valid_frames("face").sum() >= 0.95 * store.lengths("face").sum()
        assert (store.valid_frames("audio") == store.lengths("audio")).all()


def test_shards_say_how_they_were_made(extracted: Path) -> None:
    for path in (extracted / "features").rglob("*.h5"):
        with h5py.File(path) as file:
            for name in (
                "format",
                "version",
                "modality",
                "config",
                "encoder",
                "weights",
                "versions",
                "command",
                "rate_hz",
            ):
                assert name in file.attrs
            assert path.parent.name == f"{file.attrs['modality']}-{file.attrs['key'][:8]}"
            assert "foal extract --split session1,session2" in file.attrs["command"]
        with ShardReader(path) as shard:
            assert all(media for media in shard.media)


def test_nothing_is_left_to_do(extracted: Path, synthetic_corpus: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in extracted.rglob("*.h5")}
    done = run(extracted, "extract", "--split", "session1", "-m", "m.csv", "-r", synthetic_corpus)
    assert done.returncode == 0
    assert "nothing is left to do" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in extracted.rglob("*.h5")} == before


def test_deleted_and_broken_shards_come_back_the_same(extracted: Path, synthetic_corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(extracted, tmp_path / "copy")
    features = tmp_path / "copy" / "features"
    before = all_values(features)
    for pattern in ("session1/audio-*/*.h5", "session2/face-*/*.h5"):
        sorted(features.glob(pattern))[0].unlink()
    (features / "session1" / next(features.glob("session1/face-*")).name / "broken.h5").write_text("not HDF5")
    done = run(
        tmp_path / "copy", "extract", "--split", "session1", "--split", "session2", "-m", "m.csv", "-r",
        synthetic_corpus,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "broken.h5" in done.stdout
    (next(features.glob("session1/face-*")) / "broken.h5").unlink()
    assert all_values(features) == before


def test_the_number_of_workers_changes_nothing(extracted: Path, synthetic_corpus: Path, tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "extract",
        "-s",
        "session1",
        "-m",
        extracted / "m.csv",
        "-r",
        synthetic_corpus,
        "--features",
        "f",
        "-j",
        "1",
    )
    assert done.returncode == 0, done.stderr
    with FeatureStore(extracted / "feats.h5") as two, FeatureStore(tmp_path / "f" / "feats.h5") as one:
        rows = list(range(len(one)))
        assert one.utterances == two.utterances[: len(one)]
        for modality in ("audio", "face"):
            got, wanted = one.packed(modality), two.packed(modality, rows)
            np.testing.assert_array_equal(got.offsets, wanted.offsets)
            np.testing.assert_array_equal(got.valid, wanted.valid)
            # One thread or two sum in another order; stored in half precision, the last bit may differ.
            error = np.linalg.norm(got.values.astype(np.float64) - wanted.values.astype(np.float64))
            assert error <= 1e-3 * np.linalg.norm(wanted.values.astype(np.float64))


def test_one_changed_setting_extracts_one_modality_again(
    extracted: Path, synthetic_corpus: Path, tmp_path: Path
) -> None:
    shutil.copytree(extracted, tmp_path / "copy")
    done = run(tmp_path / "copy", "extract", "--split", "session1", "-m", "m.csv", "-r", synthetic_corpus, "--fps", "5")
    assert done.returncode == 0, done.stderr
    assert "audio" in done.stdout
    assert len(list((tmp_path / "copy").glob("features/session1/audio-*"))) == 1
    assert len(list((tmp_path / "copy").glob("features/session1/face-*"))) == 2
    with FeatureStore(tmp_path / "copy" / "feats.h5") as store:
        assert {utterance.split for utterance in store.utterances} == {"session1"}
        assert store.modalities["face"].rate_hz == 5


@pytest.fixture
def mixed(tmp_path: Path, synthetic_corpus: Path, make_video: Callable[..., Path]) -> Path:
    """A corpus of one sound utterance among every kind of trouble."""
    root = tmp_path / "media"
    root.mkdir()
    dialog = sorted(synthetic_corpus.glob("Session1/dialog/avi/DivX/*.avi"))[0]
    shutil.copy(dialog, root / "talk.avi")
    soundfile.write(root / "tone.wav", np.sin(np.arange(24000) / 20) / 3, 16000)
    make_video(root / "faceless.mp4", frames=25, sound_hz=44100)
    make_video(root / "silent.mp4", frames=25)
    (root / "words.mp4").write_text("a text file that was given the wrong name\n" * 20)
    rows = [
        ("good", "tone.wav", "talk.avi", "left"), ("faceless", "faceless.mp4", "faceless.mp4", "full"),
        ("silent", "silent.mp4", "silent.mp4", "full"), ("picture-less", "tone.wav", "", "full"),
        ("sound-less", "", "talk.avi", "right"), ("words", "words.mp4", "words.mp4", "full"),
        ("gone", "tone.wav", "gone.mp4", "full"),
    ]  # fmt: skip
    write_manifest(
        tmp_path / "m.csv",
        [
            Utterance(id=name, corpus="mixed", label="hap", audio=audio, video=video, crop=crop, start=0.0, end=1.0)
            for name, audio, video, crop in rows
        ],
    )
    return tmp_path


def test_trouble_costs_its_own_utterances_and_nothing_else(foal: Foal, mixed: Path) -> None:
    done = foal("extract", "--split", "all", "-m", "m.csv", "-r", "media")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    with FeatureStore(mixed / "feats.h5") as store:
        ids = [utterance.id for utterance in store.utterances]
        assert ids == ["good", "faceless", "silent", "picture-less", "sound-less"]
        audio, face = (
            dict(zip(ids, store.valid_frames("audio"), strict=True)),
            dict(zip(ids, store.valid_frames("face"), strict=True)),
        )
        notes = dict(zip(ids, zip(store.notes("audio"), store.notes("face"), strict=True), strict=True))
    assert {name for name, frames in audio.items() if frames} == {"good", "faceless", "picture-less"}
    assert {name for name, frames in face.items() if frames} == {"good", "sound-less"}
    assert notes["faceless"] == ("", "no face found")
    assert notes["silent"][0] == "no audio track"
    assert notes["picture-less"][1] == "no video in the manifest"
    assert notes["sound-less"][0] == "no audio in the manifest"
    with (mixed / "features" / "mixed" / "failures.csv").open() as file:
        failures = {(row["id"], row["modality"]): row for row in csv.DictReader(file)}
    assert set(failures) == {("words", "audio"), ("words", "face"), ("gone", "face")}
    assert failures["gone", "face"]["reason"] == "there is no such file"
    assert all(row["remedy"] for row in failures.values())

    shutil.copy(mixed / "media" / "talk.avi", mixed / "media" / "gone.mp4")
    shutil.copy(mixed / "media" / "silent.mp4", mixed / "media" / "words.mp4")
    done = foal("extract", "--split", "all", "-m", "m.csv", "-r", "media")
    assert done.returncode == 0, done.stderr
    assert not (mixed / "features" / "mixed" / "failures.csv").exists()
    with FeatureStore(mixed / "feats.h5") as store:
        assert len(store) == 7


def test_a_changed_media_file_is_extracted_again(foal: Foal, mixed: Path) -> None:
    def sounds() -> dict[str, np.ndarray]:
        done = foal("extract", "--split", "all", "-m", "m.csv", "-r", "media", "--modalities", "audio")
        assert done.returncode == 0, done.stderr
        with FeatureStore(mixed / "feats.h5") as store:
            return {u.id: store.packed("audio", [row]).values for row, u in enumerate(store.utterances)}

    keep = [u for u in read_manifest(mixed / "m.csv") if u.id in ("good", "picture-less", "faceless")]
    write_manifest(mixed / "m.csv", keep)
    before = sounds()
    # Both a longer and a shorter list of files sharing the old shard: the newer features count in either order.
    for factor in (7, 11):
        soundfile.write(mixed / "media" / "tone.wav", np.sin(np.arange(25000) / factor) / 3, 16000)
        after = sounds()
        assert np.array_equal(after["faceless"], before["faceless"])
        assert not np.array_equal(after["good"], before["good"])
        assert np.array_equal(after["good"], after["picture-less"])
        before = after


def test_the_index_holds_no_features_of_other_media(foal: Foal, mixed: Path) -> None:
    write_manifest(mixed / "m.csv", [u for u in read_manifest(mixed / "m.csv") if u.id in ("good", "faceless")])
    arguments = ["extract", "--split", "all", "-m", "m.csv", "-r", "media", "--modalities", "audio"]
    tone = mixed / "media" / "tone.wav"

    def indexed() -> dict[str, np.ndarray]:
        with FeatureStore(mixed / "feats.h5") as store:
            return {u.id: store.packed("audio", [row]).values for row, u in enumerate(store.utterances)}

    assert foal(*arguments).returncode == 0
    before = indexed()
    shutil.copy2(tone, mixed / "kept.wav")
    soundfile.write(tone, np.sin(np.arange(25000) / 7) / 3, 16000)
    assert foal(*arguments).returncode == 0
    tone.write_text("no sound any more")
    assert foal(*arguments).returncode == 3
    assert set(indexed()) == {"faceless"}
    shutil.copy2(mixed / "kept.wav", tone)
    done = foal(*arguments)
    assert "nothing is left to do" in done.stdout
    assert np.array_equal(indexed()["good"], before["good"])


def test_a_damaged_shard_is_named_and_made_again(extracted: Path, synthetic_corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(extracted, tmp_path / "copy")
    before = all_values(tmp_path / "copy" / "features")
    shard = sorted((tmp_path / "copy" / "features" / "session1").glob("audio-*/*.h5"))[0]
    with h5py.File(shard, "r+") as file:
        file["values"][3] += 1
    assert run(tmp_path / "copy", "verify", "features").returncode == 1
    done = run(tmp_path / "copy", "extract", "-s", "session1", "-m", "m.csv", "-r", synthetic_corpus)
    assert done.returncode == 0, done.stderr
    assert shard.name in done.stdout
    assert all_values(tmp_path / "copy" / "features") == before
    assert run(tmp_path / "copy", "verify").returncode == 0


def test_when_nothing_can_be_read_the_run_has_failed(foal: Foal, mixed: Path) -> None:
    write_manifest(mixed / "m.csv", [u for u in read_manifest(mixed / "m.csv") if u.id == "words"])
    done = foal("extract", "--split", "all", "-m", "m.csv", "-r", "media")
    assert done.returncode == 1
    assert "none of the 1 utterances could be extracted" in done.stderr
    assert not (mixed / "feats.h5").exists()
    assert not list((mixed / "features").rglob("*.h5"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_ends_its_workers_and_goes_on_later(
    synthetic_corpus: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    arguments = ["extract", "-s", "all", "-m", "m.csv", "-r", str(synthetic_corpus), "--chunk-seconds", "1"]
    assert run(tmp_path, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-c", "from foal.shared.cli import main; main()", *arguments],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("features/*/*/*.h5")) and time.monotonic() < deadline:
        time.sleep(0.2)
    # As a terminal does: to every process of the group, not only to the first.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in stderr
    assert "the same command goes on from there" in stderr
    deadline = time.monotonic() + 10
    while (left := alive_in_group(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left
    finished = all_values(tmp_path / "features")
    assert len(finished) > 0
    assert run(tmp_path, *arguments).returncode == 0
    assert all_values(tmp_path / "features").items() >= finished.items()
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_missing_root_is_named(foal: Foal, mixed: Path) -> None:
    done = foal("extract", "--split", "all", "-m", "m.csv", "-r", "nowhere")
    assert done.returncode == 2
    assert "nowhere: expected the corpus root" in done.stderr
    assert not (mixed / "features").exists()
