"""Fits as Dask tasks: each worker opens the features once and keeps them, or those of one fold at a time."""

import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue

from distributed import Future, KilledWorker, Worker

from ...shared.config.settings import Settings
from ...shared.config.train_settings import Protocol, TrainSettings
from ...shared.errors import DivergedError, TrainingError
from ...shared.parallel.cluster import HEARTBEAT_TIMEOUT, open_cluster
from ...shared.parallel.device import select_device
from ...shared.parallel.fork_server import start_fork_server
from ...shared.parallel.plugin import NamedPlugin, run_pickled
from ...shared.parallel.resources import Resources, allocate, available_cores, available_gpus, external_gpu, pin_gpu
from ...shared.parallel.waiting import WorkerWatch
from ...shared.timing import Seconds
from ..data.dataset import Dataset
from ..data.fold_features import FoldDatasets
from ..data.protocol import CrossValidation, cross_validation_of
from .device import deterministic
from .task import FitTask, run_task

POLL_SECONDS: Seconds = 1.0

log = logging.getLogger(__name__)


class FeaturesPlugin(NamedPlugin):
    """Gives each worker its device, its threads and one open copy of the features."""

    def __init__(self, settings: Settings, features: Path, resources: Resources | None) -> None:
        """Prepare a plugin for workers with these resources (None: workers of an external cluster)."""
        super().__init__("foal-features")
        self._settings = settings
        self._features = features
        self._resources = resources

    def prepare(self, worker: Worker) -> None:
        """Choose the device of a worker."""
        cluster = self._settings.cluster
        pin_gpu(self._resources, str(worker.name))
        gpus = external_gpu(cluster) if self._resources is None else self._resources.devices
        self.threads = cluster.threads or 1
        # A worker with a GPU sees no other, whatever its number on the machine is.
        self.device = select_device("cuda" if gpus else cluster.device)
        self._datasets = FoldDatasets(
            self._features,
            self._settings.train,
            classes=self._settings.corpus.classes,
            device=self.device,
        )
        self._folds: dict[Protocol | None, CrossValidation] = {}

    def release(self) -> None:
        """Close the features."""
        self._datasets.close()

    def run(self, task: FitTask) -> None:
        """Run a fit; the result is written to disk."""
        # Random state and threads are shared by the process.
        with self.exclusive(), deterministic(self.device, self.threads):
            data = self.data(task.settings)
            run_task(task, data, self.folds(task.settings.protocol, data), self.device)

    def data(self, settings: TrainSettings) -> Dataset:
        """The features of a task, read when its streams are not those of the task before."""
        return self._datasets.open(settings)

    def folds(self, protocol: Protocol | None, data: Dataset) -> CrossValidation:
        """The folds of a protocol; the utterances of `data` are the same for all streams."""
        if protocol not in self._folds:
            settings = self._settings.train.model_copy(update={"protocol": protocol})
            self._folds[protocol] = cross_validation_of(settings, data.utterances, data.speakers)
        return self._folds[protocol]


def run_in_parallel(
    settings: Settings,
    features: Path,
    tasks: Sequence[FitTask],
    may_start: Callable[[int], bool] | None = None,
    on_diverged: Callable[[int, DivergedError], None] | None = None,
) -> Iterator[int]:
    """Run tasks on Dask workers, and yield the position of each task when it is finished.

    Args:
        settings: settings of training and of the cluster (workers, devices or the address of a scheduler).
        features: feats.h5.
        tasks: the fits.
        may_start: asked with the position of each task, in their order, shortly before its turn; tasks that it refuses
            are left out (None: all are run).
        on_diverged: called with the position and the error of a fit that diverged; the others are still run (None: the
            error is raised).

    Raises:
        TrainingError: a worker process died repeatedly. Errors of the tasks are raised unchanged.
    """
    resources = resources_for_fits(settings) if settings.cluster.scheduler is None else None
    plugin = FeaturesPlugin(settings, features.absolute(), resources)
    workers = min(resources.workers, len(tasks)) if resources is not None else 0
    if workers:
        start_fork_server([__name__])
    with open_cluster(settings.cluster, plugin, workers=workers) as client:
        remote = settings.cluster.scheduler is not None
        watch = WorkerWatch(client, max_wait=settings.cluster.wait_seconds() if remote else HEARTBEAT_TIMEOUT)
        allowed = (position for position in range(len(tasks)) if may_start is None or may_start(position))
        futures: dict[Future[None], int] = {}
        done: SimpleQueue[Future[None]] = SimpleQueue()
        while True:
            watch.poll()
            # With `may_start` no more than each worker's next task waits, so that it is asked as late as possible.
            window = watch.window if may_start is None else 2 * max(watch.running, 1)
            for position in islice(allowed, max(0, window - len(futures))):
                future = client.submit(run_pickled, pickle.dumps(tasks[position]), plugin.name, pure=False)
                futures[future] = position
                future.add_done_callback(done.put)
            if not futures:
                return
            finished = []
            with suppress(Empty):
                finished.append(done.get(timeout=POLL_SECONDS))
            for future in finished:
                position = futures.pop(future)
                task = tasks[position]
                try:
                    future.result()
                except KilledWorker:
                    raise TrainingError(
                        f"seed {task.seed}, fold {task.fold}: the worker process died repeatedly, perhaps for lack of "
                        "memory; try fewer workers (--workers), smaller batches, or --on-disk"
                    ) from None
                except DivergedError as error:
                    if on_diverged is None:
                        raise
                    on_diverged(position, error)
                yield position


def run_missing(
    settings: Settings,
    features: Path,
    data: Dataset,
    folds: Mapping[Protocol | None, CrossValidation],
    tasks: Mapping[str, Sequence[FitTask]],
    progress: Callable[[int, int, str], None],
    may_start: Callable[[str], bool] | None = None,
    on_diverged: Callable[[str, DivergedError], None] | None = None,
) -> dict[str, list[Path]]:
    """Run the fits whose results are missing on Dask workers. A fit that several groups of tasks share is run once.

    Args:
        settings: settings of training and of the cluster.
        features: feats.h5.
        data: the dataset of the tasks, with the streams of the settings.
        folds: the folds of each protocol of the tasks.
        tasks: the fits, by the name of their group.
        progress: called with the number of finished fits, of all fits, and the name of the group of the last fit.
        may_start: asked once with the name of each group before its first missing fit, in their order; the missing fits
            of a group that it refuses are left out (None: all are run).
        on_diverged: called with the name of the group and the error of a fit that diverged (None: the error is raised).

    Returns:
        The files of the results, by the name of the group; those of fits that were left out or diverged do not exist.
    """
    paths: dict[str, list[Path]] = {}
    missing: dict[Path, tuple[str, FitTask]] = {}
    for name, group in tasks.items():
        paths[name] = [task.path(data, folds[task.settings.protocol]) for task in group]
        for path, task in zip(paths[name], group, strict=True):
            if not path.exists():
                missing[path] = (name, task)
    total = len({path for files in paths.values() for path in files})
    done = total - len(missing)
    log.debug("%d of %d fits are finished already", done, total)
    progress(done, total, "")
    if missing:
        # In the order of the folds if their features differ, so that a worker rarely opens others. All groups would be
        # started by the first fold, so not if groups may be refused.
        by_fold = bool(data.fold_streams) and may_start is None
        ordered = sorted(missing.values(), key=lambda fit: fit[1].fold if by_fold else 0)
        names, to_run = zip(*ordered, strict=True)
        allowed = None if may_start is None else cache(may_start)
        may_run = None if allowed is None else lambda position: allowed(names[position])
        report = None if on_diverged is None else lambda position, error: on_diverged(names[position], error)
        for position in run_in_parallel(settings, features, to_run, may_run, report):
            done += 1
            progress(done, total, names[position])
    return paths


def resources_for_fits(settings: Settings) -> Resources:
    """Resources of local workers; by default one per GPU, else one single-threaded worker per core: steps are small."""
    device = select_device(settings.cluster.device)
    devices = available_gpus() if device.type == "cuda" else []
    if device.index is not None:
        devices = devices[device.index : device.index + 1]
    cores = available_cores()
    cluster = settings.cluster.model_copy(
        update={
            "workers": settings.cluster.workers or len(devices) or cores,
            "threads": settings.cluster.threads or 1,
            "device": device.type,
        }
    )
    return allocate(cluster, cores=cores, devices=devices, decode_threads=1)
