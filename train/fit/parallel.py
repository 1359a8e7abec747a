"""Fits as Dask tasks: each worker opens the features once and keeps them."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from distributed import KilledWorker, Worker, as_completed, get_worker

from ...shared.config.settings import Settings
from ...shared.config.train_settings import Protocol
from ...shared.errors import TrainingError
from ...shared.parallel.cluster import NamedPlugin, local_cluster, remote_cluster, unique_name
from ...shared.parallel.resources import Resources, allocate, available_cores, available_gpus, visible_device
from ..data.dataset import Dataset, opened
from ..data.protocol import Split, split
from .device import chosen_device, deterministic
from .task import FitTask, run_fit


class FeaturesPlugin(NamedPlugin):
    """Gives each worker its device, its threads and one open copy of the features."""

    def __init__(
        self, settings: Settings, features: Path, modalities: Sequence[str], machine: Resources | None
    ) -> None:
        """For the workers of a machine, or (None) for workers that somebody else has started."""
        self.name = unique_name("foal-features")
        self._settings, self._features, self._modalities, self._machine = settings, features, modalities, machine

    def setup(self, worker: Worker) -> None:
        """Called by Dask in each worker."""
        if self._machine is not None and self._machine.devices:
            # Before CUDA is first asked for anything: the worker then sees its own GPU and no other.
            os.environ["CUDA_VISIBLE_DEVICES"] = visible_device(self._machine.devices, str(worker.name))
        self.threads = self._settings.cluster.threads or 1
        self.device = chosen_device(self._settings.cluster.device)
        self._stack = ExitStack()
        self._data: Dataset | None = None
        self._splits: dict[Protocol | None, Split] = {}
        # A worker of somebody else's may run several tasks at once; random numbers and threads serve one.
        self.busy = threading.Lock()

    def teardown(self, worker: Worker) -> None:
        """Called by Dask when the run is over."""
        self._stack.close()

    def data(self) -> Dataset:
        """The features, read when they are first needed."""
        if self._data is None:
            settings = self._settings
            whole = settings.train.model_copy(update={"max_seconds": None})
            data = opened(self._features, whole, classes=settings.corpus.classes, modalities=self._modalities)
            self._data = self._stack.enter_context(data).to(self.device)
        return self._data

    def split(self, protocol: Protocol | None) -> Split:
        """The folds of a protocol."""
        if protocol not in self._splits:
            self._splits[protocol] = split(self.data().utterances, protocol, self.data().speakers)
        return self._splits[protocol]


def fit_in_worker(task: FitTask, plugin: str) -> None:
    """Run a task inside a worker, with the plugin of this name; its result is on disk afterwards."""
    of_run = get_worker().plugins[plugin]
    assert isinstance(of_run, FeaturesPlugin)
    with of_run.busy, deterministic(of_run.device, of_run.threads):
        run_fit(task, of_run.data(), of_run.split(task.settings.protocol), of_run.device)


def fits_in_parallel(
    settings: Settings, features: Path, modalities: Sequence[str], tasks: Sequence[FitTask]
) -> Iterator[int]:
    """Run tasks on Dask workers, and give the number of each when it is done. What a task raises is raised here."""
    scheduler = settings.cluster.scheduler
    if scheduler is not None:
        plugin = FeaturesPlugin(settings, features.absolute(), modalities, None)
        cluster = remote_cluster(scheduler, plugin)
    else:
        machine = machine_for_fits(settings)
        plugin = FeaturesPlugin(settings, features.absolute(), modalities, machine)
        cluster = local_cluster(min(machine.workers, len(tasks)), plugin)
    with cluster as client:
        futures = {
            client.submit(fit_in_worker, task, plugin.name, pure=False): place for place, task in enumerate(tasks)
        }
        for future in as_completed(list(futures)):
            task = tasks[futures[future]]
            try:
                future.result()
            except KilledWorker:
                raise TrainingError(
                    f"seed {task.seed}, fold {task.fold}: the worker process died over it several times, perhaps for "
                    "want of memory; try fewer workers (--workers), smaller batches, or --stream"
                ) from None
            yield futures[future]


def machine_for_fits(settings: Settings) -> Resources:
    """One worker of one thread per core, or one per GPU, where the settings do not say: steps are small."""
    device = chosen_device(settings.cluster.device)
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
