"""A disk that fills up, one that is too small from the start, a folder that cannot be written or that vanishes."""

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


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A small file system in memory."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this machine does not let us mount anything")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def whole(
    foal_in: Any, synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory, features_of: Any, start: Start
) -> tuple[list[str], Any, int]:
    """The options of a run over the drawn corpus, what it leaves, and the bytes of that."""
    folder = tmp_path_factory.mktemp("whole")
    assert foal_in(folder, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    usual = ["extract", "-s", "all", "-m", str(folder / "m.csv"), "-r", str(synthetic_corpus), "--chunk-seconds", "1"]
    run = start(folder, *usual, "-j", "2")
    assert run.finish() == 0, run.err
    size = sum(path.stat().st_size for path in (folder / "features").rglob("*.h5"))
    return usual, features_of(folder / "features"), size


def goes_on(folder: Path, whole: Any, start: Start, features_of: Any, before: Any, finished_shards: Any) -> None:
    """The next run, with room, does the rest and nothing twice."""
    usual, wanted, _ = whole
    run = start(folder, *usual, "-j", "2")
    assert run.finish() == 0, run.err
    assert features_of(folder / "features") == wanted
    assert before.items() <= finished_shards(folder / "features").items()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_disk_that_fills_up(
    whole: Any,
    start: Start,
    trial: Any,
    tmp_path: Path,
    features_of: Any,
    finished_shards: Any,
    foal_in: Any,
    share: float,
) -> None:
    usual, wanted, size = whole
    with (
        mounted(tmp_path / "disk", "-o", f"size={int(size * share)}") as folder,
        trial("a disk that fills up", "the run ends in a sentence, every shard is whole, the next run goes on"),
    ):
        # The features would not fit from the start, and this is about finding out too late.
        run = start(folder, *usual, "-j", "2", "--set", "extract.check_disk_space=false")
        assert run.finish() == 1
        assert "No space left on device" in run.err
        assert "free some space" in run.err
        assert not list(folder.rglob(".tmp-*"))
        there = features_of(folder / "features")
        assert there.items() <= wanted.items()
        assert foal_in(folder, "verify", "features").returncode == 0
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        goes_on(folder, whole, start, features_of, finished_shards(folder / "features"), finished_shards)


@pytest.mark.parametrize("limit", [5_000, 18_000])
def test_a_limit_on_the_size_of_files(
    whole: Any, start: Start, trial: Any, tmp_path: Path, features_of: Any, finished_shards: Any, limit: int
) -> None:
    usual, wanted, _ = whole
    with trial("files may not grow beyond a limit", "the run ends in a sentence, every shard is whole"):
        code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        done = subprocess.run(
            [sys.executable, "-c", f"{code}from foal.shared.cli.main import main; main()", *usual, "-j", "2"],
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
        there = features_of(tmp_path / "features")
        assert there.items() <= wanted.items()
        goes_on(tmp_path, whole, start, features_of, finished_shards(tmp_path / "features"), finished_shards)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.sample
def test_a_disk_that_is_too_small(whole: Any, start: Start, trial: Any, tmp_path: Path) -> None:
    usual, _, _ = whole
    with (
        mounted(tmp_path / "disk", "-o", "size=1m") as folder,
        trial("a disk that is too small", "said before the run, with both sizes"),
    ):
        run = start(folder, *usual, "-j", "2")
        assert run.finish() == 1
        assert "of free space, got" in run.err
        assert "chunks on" not in run.out
        assert not list(folder.rglob("*.h5"))


@pytest.mark.sample
def test_a_folder_that_cannot_be_written(whole: Any, start: Start, trial: Any, tmp_path: Path) -> None:
    usual, _, _ = whole
    with (
        mounted(tmp_path / "disk", "-o", "ro") as folder,
        trial("a read-only folder", "said before the run"),
    ):
        run = start(tmp_path, *usual, "-j", "2", "--features-dir", folder / "features")
        assert run.finish() == 1
        assert "Read-only file system" in run.err
        assert "chunks on" not in run.out


def immutable(folder: Path, sign: str) -> bool:
    return subprocess.run(["chattr", "-R", f"{sign}i", str(folder)], capture_output=True, check=False).returncode == 0


def test_a_folder_that_becomes_read_only(
    whole: Any, start: Start, trial: Any, tmp_path: Path, features_of: Any, finished_shards: Any
) -> None:
    usual, wanted, _ = whole
    (tmp_path / "probe").mkdir()
    if not immutable(tmp_path / "probe", "+") or not immutable(tmp_path / "probe", "-"):
        pytest.skip("this machine does not let us lock a folder")
    features = tmp_path / "features"
    with trial("a folder that becomes read-only", "the run ends in a sentence, the next one goes on"):
        run = start(tmp_path, *usual, "-j", "2")
        try:
            run.wait_for(lambda: finished_shards(features))
            # A file that is just being replaced may be gone before its turn comes.
            immutable(features, "+")
            assert run.finish() == 1
            assert "cannot be written: Operation not permitted" in run.err
        finally:
            immutable(features, "-")
        assert features_of(features).items() <= wanted.items()
        goes_on(tmp_path, whole, start, features_of, finished_shards(features), finished_shards)
        assert not list(features.rglob(".*"))


@pytest.mark.parametrize("shards", [1, 5, 12])
def test_a_folder_that_vanishes(
    whole: Any, start: Start, trial: Any, tmp_path: Path, features_of: Any, finished_shards: Any, shards: int
) -> None:
    usual, _, _ = whole
    with trial("a features folder that vanishes", "the run says so and fails, the next one makes all again"):
        run = start(tmp_path, *usual, "-j", "2")
        run.wait_for(lambda: len(finished_shards(tmp_path / "features")) >= shards)
        (tmp_path / "features").rename(tmp_path / "elsewhere")
        assert run.finish() == 1, run.out
        assert "run the same command again" in run.err or "cannot be written" in run.err
        shutil.rmtree(tmp_path / "elsewhere")
        goes_on(tmp_path, whole, start, features_of, {}, finished_shards)


def test_a_corpus_that_vanishes(
    whole: Any, start: Start, trial: Any, tmp_path: Path, features_of: Any, finished_shards: Any, synthetic_corpus: Path
) -> None:
    usual, wanted, _ = whole
    root = tmp_path / "corpus"
    shutil.copytree(synthetic_corpus, root)
    with trial("a corpus that vanishes", "what was left is listed, and done once it is back"):
        command = [*usual, "-j", "2", "--root", root]
        run = start(tmp_path, *command)
        run.wait_for(lambda: len(finished_shards(tmp_path / "features")) >= 5)
        os.rename(root, tmp_path / "away")
        assert run.finish() in (1, 3)
        assert features_of(tmp_path / "features").items() <= wanted.items()
        before = finished_shards(tmp_path / "features")
        os.rename(tmp_path / "away", root)
        run = start(tmp_path, *command)
        assert run.finish() == 0, run.err
        assert features_of(tmp_path / "features") == wanted
        assert before.items() <= finished_shards(tmp_path / "features").items()
        assert not list((tmp_path / "features").rglob("failures.csv"))
