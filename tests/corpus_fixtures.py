"""Folders that all test processes share, the generated corpus, and a Dask worker to extract it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from foal.shared.config.settings import CorpusSettings, Settings, SynthSettings


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """`made_once(name, make)`: a folder that the first of the test processes makes and all of them read."""
    # The folder of a pytest-xdist process is in the folder of the whole test run.
    in_process = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()

    def run(name: str, make: Callable[[Path], None]) -> Path:
        folder = (base.parent if in_process else base) / name
        done = folder.with_suffix(".done")
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return run


@pytest.fixture(scope="session")
def synthetic_corpus(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A generated corpus of 20 utterances in IEMOCAP's directory layout; read only, shared by all test processes.

    It replaced a corpus with other settings, as a test of `foal corpus` checks.
    """
    from foal.manifests.run import GENERATOR_FILE, prepare_corpus

    def generate(folder: Path) -> None:
        (folder / "corpus" / "Session9").mkdir(parents=True)
        (folder / "corpus" / GENERATOR_FILE).write_text("{}")
        settings = Settings(
            corpus=CorpusSettings(kind="synthetic", root=folder / "corpus"), synth=SynthSettings(utterances=20, seed=7)
        )
        prepare_corpus(settings, folder.with_suffix(".json"))

    return made_once("synthetic", generate) / "corpus"


@pytest.fixture(scope="session")
def scheduler() -> Iterator[str]:
    """The address of a Dask scheduler with one worker, for `--scheduler`. The worker imports its modules only once."""
    from distributed import LocalCluster

    # Dask sets variables for its workers in the environment of this process.
    with patch.dict(os.environ):
        # Two threads, as a user's worker may have. An encoder still runs one task at a time.
        cluster = LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0")
    with cluster:
        yield cluster.scheduler_address
