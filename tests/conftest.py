"""Fixtures of several packages, with corpus_fixtures.py and media_fixtures.py: features, the `foal` command."""

import fcntl
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, chdir, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import settings as hypothesis_settings
from jaxtyping import install_import_hook

from foal.shared.store.catalog import shard_folder
from foal.shared.store.shard import Entry, ShardHeader, ShardWriter
from foal.shared.utterance import Utterance

# A script's background jobs, `nohup` and some CI runners start the suite with SIGINT ignored. Child processes would
# inherit that, and the tests that interrupt them would time out.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The processes of pytest-xdist share the cores. Commands set their own number of threads, whose waiting would otherwise
# take the processor from the other processes: it multiplies the time of an extraction.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
torch.set_num_threads(1)

# Some environments forbid Python to keep compiled files: rewriting the tests alone takes ten seconds per process.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The same examples in every run. No deadline: first calls are slow.
hypothesis_settings.register_profile("foal", deadline=None, derandomize=True, max_examples=50)
hypothesis_settings.load_profile("foal")

# Check the shapes that heads and losses declare at every call. The hook must precede their import.
SHAPED = ("layers", "pooling", "losses", "foalnet", "fusion", "objective", "dialogs")
install_import_hook([f"foal.train.model.{name}" for name in SHAPED], "beartype.beartype")

pytest_plugins = ["foal.tests.corpus_fixtures", "foal.tests.media_fixtures"]

TESTS = Path(__file__).parent
SLOW_FIXTURES = frozenset({"foal", "foal_unprivileged", "scheduler", "synthetic_corpus", "feats", "make_index"})
"""Fixtures that start commands or Dask workers, generate a corpus, or write features to train on: seconds each."""
SLOW_FILES = (
    "extract/audio/test_encoder.py",
    "extract/face/test_vision.py",
    "extract/inspect/test_preview.py",
    "extract/inspect/test_sheet_layout.py",
    "extract/maintenance/test_clean.py",
    "extract/imports/test_import_features.py",
    "extract/media/test_audio_track.py",
    "extract/media/test_video.py",
    "extract/schedule/test_dispatch.py",
    "extract/schedule/test_worker.py",
    "manifests/synthetic/test_video.py",
    "manifests/test_run.py",
    "shared/cli/test_signals.py",
    "shared/store/test_shard_reader.py",
    "shared/store/test_verify.py",
    "train/data/test_features.py",
    "train/evaluate/test_run.py",
    "train/evaluate/test_run_selection.py",
    "train/fit/test_loop.py",
    "train/fit/test_snapshot.py",
    "train/fit/test_task.py",
    "train/metrics/test_retrieval.py",
    "train/metrics/test_significance.py",
    "train/model/test_foalnet_invariance.py",
    "train/model/test_objective_compat.py",
    "train/report/test_plots.py",
    "train/report/test_run_folder.py",
    "train/test_run_degenerate.py",
    "train/test_run_leakage.py",
)
"""Test files below tests/ with many or long computations."""

LONGEST_FILES = (
    "test_pipeline.py",
    "train/model/fusion/test_learning.py",  # needs no corpus, which another process generates meanwhile
    "test_end_to_end.py",
    "docs/test_notebooks.py",
    "docs/test_cluster_files.py",
    "extract/schedule/test_execute_clusters.py",
    "train/ablate/test_fusions.py",
    "train/ablate/test_run.py",
    "train/test_run_fold_features.py",
    "docs/test_api_examples.py",
    "extract/run/test_parts.py",
    "train/test_run_leakage.py",
)
"""Test files below tests/ that run first, so that none of them is left at the end to one process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests as slow that `make test-fast` leaves out, in addition to those with a marker of their own."""
    # Files are distributed among processes in this order.
    longest = [TESTS / name for name in LONGEST_FILES]
    items.sort(key=lambda item: longest.index(item.path) if item.path in longest else len(longest))
    files = {TESTS / name for name in SLOW_FILES}
    for item in items:
        if item.path.parent == TESTS / "benchmarks":
            item.add_marker(pytest.mark.benchmarks)
        if item.path in files or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def blocked_file() -> Callable[[Path], AbstractContextManager[None]]:
    """`with blocked_file(path):` opening the file blocks for the `lease_time` of the system (default 45 s)."""

    @contextmanager
    def block(file: Path) -> Iterator[None]:
        before = signal.signal(signal.SIGIO, signal.SIG_IGN)
        handle = os.open(file, os.O_RDWR)
        try:
            try:
                fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            except OSError:
                pytest.skip("the file system supports no leases")
            yield
        finally:
            os.close(handle)
            signal.signal(signal.SIGIO, before)

    return block


@pytest.fixture
def library_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging as in a program that imports foal: without the handlers of a command that another test ran."""
    monkeypatch.setattr(logging.getLogger("foal"), "handlers", [])


@pytest.fixture
def make_features() -> Callable[..., Path]:
    """A features folder with seeded random values for the given utterances, one shard per split and modality."""

    def make(
        folder: Path,
        utterances: Sequence[Utterance],
        *,
        widths: dict[str, int] | None = None,
        seed: int = 0,
        key: str = "0" * 64,
    ) -> Path:
        random = np.random.default_rng(seed)
        for modality, width in (widths or {"audio": 8, "face": 6}).items():
            rate_hz = 50.0 if modality == "audio" else 10.0
            header = ShardHeader(
                modality=modality,
                config_hash=key,
                rate_hz=rate_hz,
                encoder="random:test",
                revision="",
                weights="0",
                random_weights=True,
                config={"width": width},
            )
            for split in dict.fromkeys(utterance.split for utterance in utterances):
                path = shard_folder(folder, split, modality, key) / "shard.h5"
                with ShardWriter(path, header, dtype="float16") as writer:
                    for utterance in utterances:
                        if utterance.split == split:
                            length = int(random.integers(1, 9))
                            writer.add(
                                Entry(
                                    id=utterance.id,
                                    values=random.normal(size=(length, width)).astype(np.float32),
                                    valid=random.random(length) < 0.8,
                                    origin=0.0,
                                    source=utterance.source(modality),
                                    media="1:1",
                                )
                            )
        return folder

    return make


@pytest.fixture
def sample_utterances() -> list[Utterance]:
    return [
        Utterance(
            id=f"u{number}",
            corpus="test",
            session=f"session{number % 3 + 1}",
            speaker=f"s{number % 6}",
            label=("hap", "sad")[number % 2],
            audio=f"{number}.wav",
            video=f"{number}.mp4",
            end=1.0,
        )
        for number in range(18)
    ]


@pytest.fixture
def foal(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the `foal` command in `tmp_path`, in a separate process; return its output and exit code."""

    def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from foal.shared.cli.main import main; main()", *map(str, arguments)],
            cwd=cwd or tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def unprivileged() -> list[str]:
    """The prefix of a command that file permissions apply to: root drops the capability to ignore them."""
    if os.geteuid() != 0:
        return []
    without = "-dac_override,-dac_read_search,-fowner"
    prefix = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}"]
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("root cannot drop its capabilities here")
    return prefix


@pytest.fixture
def foal_unprivileged(unprivileged: list[str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Like `foal`, in a process that file permissions apply to."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*unprivileged, sys.executable, "-c", "from foal.shared.cli.main import main; main()", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

    return run


@pytest.fixture(scope="session")
def foal_in() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the `foal` command in a given folder and in this process, which saves several seconds of imports.

    Arguments, working folder, output streams and signal handlers are those of a separate process, and are restored
    afterwards. An error that would show a traceback is raised.
    """
    from foal.shared.cli.main import main

    def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        words = ["foal", *map(str, arguments)]
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        out, err = io.StringIO(), io.StringIO()
        try:
            with (
                chdir(folder),
                patch.object(sys, "argv", words),
                patch.dict(os.environ),
                redirect_stdout(out),
                redirect_stderr(err),
                pytest.raises(SystemExit) as left,
            ):
                main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        code = left.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def foal_here(
    foal_in: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Like `foal`, but in this process, for tests that do not need a separate one."""
    return partial(foal_in, tmp_path)
