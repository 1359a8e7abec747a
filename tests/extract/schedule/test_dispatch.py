"""Chunks that kill or block workers are bisected to find the utterance; the other utterances finish.

The tasks raise KilledWorker, as Dask does after the workers of a task died. tests/faults kills worker processes.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from distributed import Client, Future, KilledWorker, LocalCluster, get_worker

from foal.extract.schedule.dispatch import MAX_ATTEMPTS, Dispatch
from foal.extract.schedule.failures import CHANGED, REMEDY_WORKER_DIED, ChunkResult
from foal.extract.schedule.plan import Chunk
from foal.extract.schedule.worker import TASK_STARTED
from foal.shared.errors import FoalError
from foal.shared.parallel.waiting import MIN_WINDOW, WorkerWatch
from foal.shared.utterance import Utterance

FATAL_ID = "u3"


class WorkersDied(KilledWorker):
    """The error of a task whose workers died."""

    def __init__(self) -> None:
        Exception.__init__(self)

    def __str__(self) -> str:
        return "workers died"


def chunk_of(*numbers: int) -> Chunk:
    utterances = tuple(Utterance(id=f"u{n}", corpus="c", audio=f"{n}.wav", end=1.0) for n in numbers)
    return Chunk(stream="audio", split="c", utterances=utterances, seconds=float(len(utterances)))


def run_chunk(chunk: Chunk) -> ChunkResult:
    if FATAL_ID in {utterance.id for utterance in chunk.utterances}:
        raise WorkersDied
    return ChunkResult(frames=len(chunk.utterances), failures=())


def block(chunk: Chunk) -> ChunkResult:
    worker = get_worker()
    worker.log_event(TASK_STARTED, {"key": worker.get_current_task(), "worker": worker.address})
    time.sleep(5)
    return ChunkResult(frames=0, failures=())


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0", protocol="inproc://"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("changes", [False, True])
def test_the_utterance_that_kills_workers_is_the_only_failure(client: Client, changes: bool) -> None:
    submitted: Counter[tuple[str, ...]] = Counter()
    fingerprints = iter(range(100))

    def submit(chunk: Chunk, key: str) -> "Future[ChunkResult]":
        submitted[tuple(utterance.id for utterance in chunk.utterances)] += 1
        return client.submit(run_chunk, chunk, key=key)

    def fingerprint(chunk: Chunk) -> str:
        return f"{next(fingerprints)}" if changes else "same"

    chunks = [chunk_of(0, 1, 2, 3, 4), chunk_of(5, 6)]
    watch = WorkerWatch(client, max_wait=60.0)
    dispatch = Dispatch(chunks, client, submit, watch, name=f"test-{changes}", timeout=60.0, fingerprint=fingerprint)
    results = list(dispatch.results())
    finished = [utterance.id for chunk, result in results if result.frames for utterance in chunk.utterances]
    assert sorted(finished) == ["u0", "u1", "u2", "u4", "u5", "u6"]
    (failure,) = (failure for _, result in results for failure in result.failures)
    assert (failure.id, failure.remedy) == (FATAL_ID, REMEDY_WORKER_DIED)
    # A file that changed between the attempts is retried by the next run.
    assert failure.fingerprint == (CHANGED if changes else "same")
    assert submitted[FATAL_ID,] == MAX_ATTEMPTS


def test_a_blocked_worker_without_a_nanny_ends_the_run(client: Client) -> None:
    def submit(chunk: Chunk, key: str) -> "Future[ChunkResult]":
        return client.submit(block, chunk, key=key)

    watch = WorkerWatch(client, max_wait=60.0)
    dispatch = Dispatch(
        [chunk_of(1)], client, submit, watch, name="test-block", timeout=-99.0, fingerprint=lambda chunk: ""
    )
    with pytest.raises(FoalError, match="does not finish u1 and has no nanny"):
        list(dispatch.results())


def test_chunks_are_submitted_in_a_window_the_longest_first(client: Client) -> None:
    chunks = [replace(chunk_of(number), seconds=float(number)) for number in range(100, 100 + MIN_WINDOW + 50)]
    submitted: list[float] = []

    def submit(chunk: Chunk, key: str) -> "Future[ChunkResult]":
        submitted.append(chunk.seconds)
        return client.submit(run_chunk, chunk, key=key)

    watch = WorkerWatch(client, max_wait=60.0)
    dispatch = Dispatch(chunks, client, submit, watch, name="test-window", timeout=60.0, fingerprint=lambda chunk: "")
    results = dispatch.results()
    first, _ = next(results)
    assert len(submitted) == MIN_WINDOW
    names = {chunk.name for chunk, _ in results} | {first.name}
    assert names == {chunk.name for chunk in chunks}
    assert submitted == sorted((chunk.seconds for chunk in chunks), reverse=True)
