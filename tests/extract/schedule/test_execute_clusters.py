"""Clusters as others run them: empty at first, with workers that start late, elsewhere, paused, or that are killed."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from distributed import Client, LocalCluster
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from foal.extract.schedule.execute import run_chunks
from foal.extract.schedule.failures import Failure, Quarantine
from foal.extract.schedule.plan import Chunk
from foal.extract.schedule.stream_spec import build_stream_spec
from foal.shared.config.settings import Settings
from foal.shared.errors import FoalError
from foal.shared.parallel import cluster as cluster_module
from foal.shared.parallel import waiting
from foal.shared.utterance import Utterance
from foal.tests.extract.encoders.small_wav2vec2 import SMALL
from foal.tests.shared.parallel.dask_processes import DaskProcesses

pytestmark = pytest.mark.slow

FILES = 12
Written = dict[str, list[Path]]
Run = Callable[..., "Future[Written]"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: pytest.LogCaptureFixture) -> Iterator[Run]:
    """Extract tones of two seconds, a chunk each, in a thread of this process."""
    (tmp_path / "media").mkdir()
    for number in range(FILES):
        soundfile.write(tmp_path / f"media/{number}.wav", np.sin(np.arange(32000) / (5 + number)) / 3, 16000)
    utterances = [Utterance(id=f"u{n}", corpus="c", audio=f"{n}.wav", end=2.0) for n in range(FILES)]
    chunks = [Chunk(stream="audio", split="c", utterances=(utterance,), seconds=2.0) for utterance in utterances]
    # Relative to the folder of the command; the workers run in another one.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(waiting, "CHECK_SECONDS", 0.5)
    monkeypatch.setattr(waiting, "WAITING_CHECK_SECONDS", 0.2)
    with ThreadPoolExecutor(1) as pool:

        def extract(scheduler: str, *, encoder: str = "random:tiny", **cluster: Any) -> "Future[Written]":
            settings = Settings.model_validate(
                {
                    "corpus": {"root": "media"},
                    "extract": {"features_dir": "features", "audio": {"encoder": encoder}},
                    "cluster": {"scheduler": scheduler, **cluster},
                }
            )
            spec = build_stream_spec(settings.extract, "audio")
            quarantine = Quarantine(settings, utterances)
            failures: list[Failure] = []
            return pool.submit(run_chunks, settings, chunks, [spec], quarantine, failures, FILES)

        yield extract


@pytest.fixture
def processes(tmp_path: Path, run: Run) -> Iterator[DaskProcesses]:
    """Stopped before `run`, whose extraction ends with the scheduler."""
    folder = tmp_path / "dask"
    folder.mkdir()
    started = DaskProcesses(folder)
    yield started
    started.stop()


def wait_for(condition: Callable[[], object], extraction: "Future[Written]") -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert not extraction.done(), extraction.result()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def finished(folder: Path) -> int:
    return len([path for path in folder.glob("features/c/*/*.h5") if not path.name.startswith(".")])


# Lambdas are sent by value: the scheduler cannot import the tests.
ADAPTIVE_TARGET = lambda dask_scheduler: dask_scheduler.adaptive_target()  # noqa: E731
IMPORTED = lambda: sorted({"torch", "transformers", "facenet_pytorch"} & __import__("sys").modules.keys())  # noqa: E731


def test_a_run_waits_for_workers_and_survives_the_death_of_all(
    processes: DaskProcesses,
    run: Run,
    tmp_path: Path,
    messages: pytest.LogCaptureFixture,
) -> None:
    """The scheduler is empty at first. Its first worker runs in another folder and is paused when it starts."""
    Wav2Vec2Model(Wav2Vec2Config(**SMALL)).save_pretrained(tmp_path / "small")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "small")
    address = processes.scheduler()
    extraction = run(address, encoder="small")
    wait_for(lambda: "waiting for workers: 0 running" in messages.text, extraction)
    with Client(address) as client:
        # The queue shows tasks, for which a cluster would start workers.
        wait_for(lambda: client.run_on_scheduler(ADAPTIVE_TARGET) > 0, extraction)
        first = processes.worker("--memory-limit", "100MB")
        wait_for(lambda: finished(tmp_path) >= 2, extraction)
        first.kill()
        wait_for(lambda: not client.scheduler_info(n_workers=-1)["workers"], extraction)
        processes.worker("--nthreads", "4")
        (paths,) = extraction.result(timeout=120).values()
        assert len(paths) == FILES == finished(tmp_path)
        assert client.run_on_scheduler(IMPORTED) == []
    assert "12 chunks on the workers of" in messages.text
    assert "may use 0.1 GB of memory, but the encoders need about 1.7 GB" in messages.text


def test_a_cluster_that_grows_by_its_queue_starts_and_stops_workers(run: Run) -> None:
    with LocalCluster(n_workers=0, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        cluster.adapt(minimum=0, maximum=2, interval="100ms", wait_count=5)
        (paths,) = run(cluster.scheduler_address).result(timeout=120).values()
        assert len(paths) == FILES
        deadline = time.monotonic() + 30
        while cluster.scheduler.workers:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_wait_for_workers_may_be_limited_and_ends_with_the_scheduler(
    processes: DaskProcesses, run: Run, messages: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For as long a client tries to reconnect.
    monkeypatch.setattr(cluster_module, "CONNECT_TIMEOUT", 3)
    address = processes.scheduler()
    with pytest.raises(FoalError, match=r"waited 0 min \d+ s for workers: 0 running. Finished work is kept"):
        run(address, wait_workers="0.6s").result(timeout=60)
    messages.clear()
    extraction = run(address)
    wait_for(lambda: "waiting for workers" in messages.text, extraction)
    processes.stop()
    with pytest.raises(FoalError, match="the connection to the scheduler is lost"):
        extraction.result(timeout=60)
