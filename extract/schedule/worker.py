"""Code that runs in a Dask worker: its encoders, and the tasks of a run."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from distributed import Worker, get_worker
from distributed.system import MEMORY_LIMIT

from ...shared.config.settings import Settings
from ...shared.parallel.plugin import NamedPlugin, plugin_of
from ...shared.parallel.resources import Resources, decode_bytes, pin_gpu
from .failures import ChunkResult
from .plan import Chunk
from .stream_spec import StreamSpec, check_weights

TASK_STARTED = "foal-task-started"
"""Topic of the events with which workers report the task that they start; its deadline counts from there."""


class EncoderPlugin(NamedPlugin):
    """Dask plugin that gives each worker its device, its threads and its encoders."""

    def __init__(self, settings: Settings, specs: Mapping[str, StreamSpec], resources: Resources | None) -> None:
        """`resources` describes the workers of this machine; None: external workers, which decide for themselves."""
        super().__init__("foal-encoders")
        self._settings = settings.extract
        self._specs = specs
        self._resources = resources
        self._cluster = settings.cluster

    def prepare(self, worker: Worker) -> None:
        """Choose the device and import the libraries of the streams."""
        # The main process imports this module, but neither torch nor the encoders' libraries, which takes seconds.
        import torch

        from .chunk import Encoders

        resources = self._resources or Resources.for_external_worker(
            self._cluster, threads=worker.state.nthreads, decode_threads=self._settings.decode_threads
        )
        self._threads = resources.threads
        # Before CUDA is initialized; an external worker has claimed its GPU above.
        pin_gpu(self._resources, str(worker.name))
        device = torch.device("cuda" if resources.devices else "cpu")
        self.encoders = Encoders(
            self._settings,
            self._specs,
            device,
            decode_threads=resources.decode_threads,
            decode_budget=decode_bytes(worker.memory_manager.memory_limit or MEMORY_LIMIT, gpu=device.type == "cuda"),
        )
        self.encoders.import_libraries()
        self._checked: set[str] = set()

    def load(self, stream: str) -> None:
        """Load a stream's encoder, and set the number of threads, which another run on this worker may have changed.

        Raises EncoderError, also if this machine has other weights than the command.
        """
        import torch

        torch.set_num_threads(self._threads)
        if self._resources is None and stream not in self._checked:
            check_weights(self._specs[stream])
            self._checked.add(stream)
        self.encoders.load(stream)


def check_encoders(streams: Sequence[str], *, plugin_name: str) -> dict[str, float]:
    """Load the encoders of some streams on this worker.

    Returns:
        Bytes of features per second of media, by stream, see `Encoders.bytes_per_second`.

    Raises:
        EncoderError: an encoder cannot be loaded.
    """
    plugin = _plugin(plugin_name)
    with plugin.exclusive():
        for stream in streams:
            plugin.load(stream)
        return {stream: plugin.encoders.bytes_per_second(stream) for stream in streams}


def extract_chunk(chunk: Chunk, *, plugin_name: str, root: Path, shard: Path, command: str) -> ChunkResult:
    """Extract a chunk into its shard; a media file that cannot be read costs only its own utterances.

    Args:
        chunk: the utterances, and their stream.
        plugin_name: name of the EncoderPlugin of this run.
        root: the corpus root.
        shard: the file to write.
        command: the command line, which the shard records.

    Returns:
        The number of frames in the shard, failures, and the time taken.

    Raises:
        FoalError: the shard cannot be written.
    """
    from .chunk import extract_into_shard, frames_in_existing_shard

    worker = get_worker()
    plugin = _plugin(plugin_name)
    with plugin.exclusive():
        frames = frames_in_existing_shard(chunk, plugin.encoders, root=root, shard=shard)
        if frames is not None:
            return ChunkResult(frames=frames, failures=())
        # Loaded before the start is reported, because the deadline is for the media alone.
        plugin.load(chunk.stream)
        worker.log_event(TASK_STARTED, {"key": worker.get_current_task(), "worker": worker.address})
        began = time.perf_counter()
        result = extract_into_shard(chunk, plugin.encoders, root=root, shard=shard, command=command)
        return replace(result, took=time.perf_counter() - began)


def _plugin(name: str) -> EncoderPlugin:
    plugin = plugin_of(name)
    assert isinstance(plugin, EncoderPlugin)
    return plugin
