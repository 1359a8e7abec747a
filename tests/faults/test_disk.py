"""Full disks, file size limits, read-only folders, and folders that disappear during a run."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]
COMPLETED_BY_RERUN = "the run ends with one message; all shards are valid; rerunning the same command completes it"


@contextmanager
def mount_tmpfs(folder: Path, *options: str) -> Iterator[Path]:
    """Mount a small tmpfs at a new folder; skip the test if this is not permitted."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def reference(
    foal_in: Any, synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory, read_features: Any, start: Start
) -> tuple[list[str], Any, int]:
    """An extraction of the synthetic corpus: its command, its features, and the size of its shards in bytes."""
    folder = tmp_path_factory.mktemp("reference")
    assert foal_in(folder, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    command = ["extract", "-s", "all", "-m", str(folder / "m.csv"), "-r", str(synthetic_corpus), "--chunk-seconds", "1"]
    run = start(folder, *command, "-j", "2")
    assert run.finish() == 0, run.err
    size = sum(path.stat().st_size for path in (folder / "features").rglob("*.h5"))
    return command, read_features(folder / "features"), size


def check_rerun_completes(
    folder: Path, reference: Any, start: Start, read_features: Any, before: Any, finished_shards: Any
) -> None:
    """Rerun the command: it completes the features and keeps every finished shard."""
    command, expected, _ = reference
    run = start(folder, *command, "-j", "2")
    assert run.finish() == 0, run.err
    assert read_features(folder / "features") == expected
    assert before.items() <= finished_shards(folder / "features").items()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_full_disk_ends_run_and_rerun_completes(
    reference: Any,
    start: Start,
    trial: Any,
    tmp_path: Path,
    read_features: Any,
    finished_shards: Any,
    foal_in: Any,
    share: float,
) -> None:
    command, expected, size = reference
    with (
        mount_tmpfs(tmp_path / "disk", "-o", f"size={int(size * share)}") as folder,
        trial("a disk that fills up during the run", COMPLETED_BY_RERUN),
    ):
        # Without the check before the run, the lack of space is only noticed while shards are written.
        run = start(folder, *command, "-j", "2", "--set", "extract.check_disk_space=false")
        assert run.finish() == 1
        assert "No space left on device" in run.err
        assert "free some space" in run.err
        assert not list(folder.rglob(".tmp-*"))
        written = read_features(folder / "features")
        assert written.items() <= expected.items()
        assert foal_in(folder, "verify", "features").returncode == 0
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        check_rerun_completes(
            folder, reference, start, read_features, finished_shards(folder / "features"), finished_shards
        )


@pytest.mark.parametrize("limit", [5_000, 18_000])
def test_file_size_limit_ends_run_and_rerun_completes(
    reference: Any, start: Start, trial: Any, tmp_path: Path, read_features: Any, finished_shards: Any, limit: int
) -> None:
    command, expected, _ = reference
    with trial("a limit on the size of files (RLIMIT_FSIZE)", COMPLETED_BY_RERUN):
        code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        done = subprocess.run(
            [sys.executable, "-c", f"{code}from foal.shared.cli.main import main; main()", *command, "-j", "2"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert "File too large" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(tmp_path.rglob(".tmp-*"))
        written = read_features(tmp_path / "features")
        assert written.items() <= expected.items()
        check_rerun_completes(
            tmp_path, reference, start, read_features, finished_shards(tmp_path / "features"), finished_shards
        )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.sample
def test_too_little_free_space_is_reported_before_the_run(
    reference: Any, start: Start, trial: Any, tmp_path: Path
) -> None:
    command, _, _ = reference
    with (
        mount_tmpfs(tmp_path / "disk", "-o", "size=1m") as folder,
        trial("a disk with too little free space", "reported before the run, with the required and the free space"),
    ):
        run = start(folder, *command, "-j", "2")
        assert run.finish() == 1
        assert "of free space, got" in run.err
        assert "chunks on" not in run.out
        assert not list(folder.rglob("*.h5"))


@pytest.mark.sample
def test_read_only_folder_is_reported_before_the_run(reference: Any, start: Start, trial: Any, tmp_path: Path) -> None:
    command, _, _ = reference
    with (
        mount_tmpfs(tmp_path / "disk", "-o", "ro") as folder,
        trial("a read-only features folder", "reported before the run"),
    ):
        run = start(tmp_path, *command, "-j", "2", "--features-dir", folder / "features")
        assert run.finish() == 1
        assert "Read-only file system" in run.err
        assert "chunks on" not in run.out


def set_immutable(folder: Path, sign: str) -> bool:
    return subprocess.run(["chattr", "-R", f"{sign}i", str(folder)], capture_output=True, check=False).returncode == 0


def test_folder_made_read_only_ends_run_and_rerun_completes(
    reference: Any, start: Start, trial: Any, tmp_path: Path, read_features: Any, finished_shards: Any
) -> None:
    command, expected, _ = reference
    (tmp_path / "probe").mkdir()
    if not set_immutable(tmp_path / "probe", "+") or not set_immutable(tmp_path / "probe", "-"):
        pytest.skip("setting the immutable attribute is not permitted here")
    features = tmp_path / "features"
    with trial("a features folder that becomes read-only during the run", COMPLETED_BY_RERUN):
        run = start(tmp_path, *command, "-j", "2")
        try:
            run.wait_for(lambda: finished_shards(features))
            # chattr fails for files that the run renames meanwhile; its exit code is ignored.
            set_immutable(features, "+")
            assert run.finish() == 1
            assert "cannot be written: Operation not permitted" in run.err
        finally:
            set_immutable(features, "-")
        assert read_features(features).items() <= expected.items()
        check_rerun_completes(tmp_path, reference, start, read_features, finished_shards(features), finished_shards)
        assert not list(features.rglob(".*"))


@pytest.mark.parametrize("shards", [1, 5, 12])
def test_moved_features_folder_fails_run_and_rerun_extracts_again(
    reference: Any, start: Start, trial: Any, tmp_path: Path, read_features: Any, finished_shards: Any, shards: int
) -> None:
    command, _, _ = reference
    with trial(
        "a features folder that is moved away during the run",
        "the run fails with a message; rerunning the same command recreates the features",
    ):
        run = start(tmp_path, *command, "-j", "2")
        run.wait_for(lambda: len(finished_shards(tmp_path / "features")) >= shards)
        (tmp_path / "features").rename(tmp_path / "elsewhere")
        assert run.finish() == 1, run.out
        # By the state of the chunks: between two of them, before or after a shard is written.
        remedies = ("run the same command again", "cannot be written", "run `foal extract` again")
        assert any(remedy in run.err for remedy in remedies)
        assert run.err.count("\n") == 1
        shutil.rmtree(tmp_path / "elsewhere")
        check_rerun_completes(tmp_path, reference, start, read_features, {}, finished_shards)


def test_moved_corpus_fails_remaining_utterances_and_rerun_completes(
    reference: Any,
    start: Start,
    trial: Any,
    tmp_path: Path,
    read_features: Any,
    finished_shards: Any,
    synthetic_corpus: Path,
) -> None:
    base_command, expected, _ = reference
    root = tmp_path / "corpus"
    shutil.copytree(synthetic_corpus, root)
    with trial(
        "a corpus folder that is moved away during the run",
        "the remaining utterances fail; rerunning the same command once the folder is back completes them",
    ):
        command = [*base_command, "-j", "2", "--root", root]
        run = start(tmp_path, *command)
        run.wait_for(lambda: len(finished_shards(tmp_path / "features")) >= 5)
        os.rename(root, tmp_path / "away")
        assert run.finish() in (1, 3)
        assert read_features(tmp_path / "features").items() <= expected.items()
        before = finished_shards(tmp_path / "features")
        os.rename(tmp_path / "away", root)
        run = start(tmp_path, *command)
        assert run.finish() == 0, run.err
        assert read_features(tmp_path / "features") == expected
        assert before.items() <= finished_shards(tmp_path / "features").items()
        assert not list((tmp_path / "features").rglob("failures.csv"))
