"""Divides the cores and GPUs of a machine among the workers of a run."""

import errno
import itertools
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..config.settings import ClusterSettings
from ..errors import UsageError

MAX_DECODE_THREADS = 8
MIN_DECODE_BYTES = 64 << 20
MAX_DECODE_BYTES = 16 << 30
GPU_DRIVERS = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg", "/dev/kfd", "/dev/nvmap")
"""Files of the drivers of NVIDIA, Windows Subsystem for Linux, AMD and Jetson. Without any there is no GPU to use."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The workers of a run: their number, their GPUs (none: CPU only), and the threads of each."""

    workers: int
    devices: tuple[str, ...]
    threads: int
    decode_threads: int

    @classmethod
    def for_external_worker(cls, settings: ClusterSettings, *, threads: int, decode_threads: int) -> "Resources":
        """The resources of a worker that was started outside of foal: one worker, with a GPU, if it sees any."""
        return allocate(settings, cores=threads, devices=external_gpu(settings), decode_threads=decode_threads)


def allocate(settings: ClusterSettings, *, cores: int, devices: Sequence[str], decode_threads: int = 0) -> Resources:
    """Divide cores and GPUs among workers where the settings leave it open.

    There is one worker per GPU or per two cores. On a machine of two cores there are two workers: a second thread would
    gain less than a second worker.

    Args:
        settings: workers, threads and device, 0 or `auto` where they are open.
        cores: cores that may be used.
        devices: GPUs, as in CUDA_VISIBLE_DEVICES.
        decode_threads: threads per worker that decode media, 0 to choose.
    """
    devices = () if settings.device == "cpu" else tuple(devices)
    workers = settings.workers or len(devices) or max(min(2, cores), cores // 2)
    cores_per_worker = max(1, cores // workers)
    default_decode_threads = min(MAX_DECODE_THREADS, cores_per_worker) if devices else 1
    return Resources(
        workers=workers,
        devices=devices,
        threads=settings.threads or cores_per_worker,
        decode_threads=decode_threads or default_decode_threads,
    )


def decode_bytes(memory: int, *, gpu: bool) -> int:
    """Bytes of decoded media that may wait for the encoders of a worker.

    A GPU is faster than a decoder. Several decoders keep it busy only if the files behind the one that is consumed can
    be decoded as well: a dialog of three minutes has a gigabyte of frames. On a CPU the encoder is the slower part.

    Args:
        memory: bytes of memory of the worker; it may use a quarter of them.
        gpu: whether it has a GPU.
    """
    return min(max(memory // 4, MIN_DECODE_BYTES), MAX_DECODE_BYTES) if gpu else MIN_DECODE_BYTES


def available_cores() -> int:
    """The number of cores that this process may use, within its CPU affinity and the quota of its container."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def has_gpu_driver() -> bool:
    """Whether this machine has the driver of a GPU; without one there is no GPU to use."""
    return any(os.path.exists(path) for path in GPU_DRIVERS)


def available_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that this process may use, as in CUDA_VISIBLE_DEVICES; CUDA is not initialized."""
    if not has_gpu_driver():
        # The import of PyTorch takes two seconds.
        return []
    import torch

    count = torch.cuda.device_count()
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in visible.split(",")] if visible else [str(number) for number in range(count)]
    return names[:count]


def visible_device(devices: Sequence[str], worker: str) -> str:
    """The GPU of a worker, whose name is its number; additional workers share the GPUs."""
    return devices[int(worker) % len(devices)]


def pin_gpu(resources: Resources | None, worker: str) -> None:
    """Let this worker process see only its own GPU. To be called before CUDA is initialized.

    Without GPUs, and for external workers (None), which claim their GPU, the environment stays as it is.
    """
    if resources is not None and resources.devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_device(resources.devices, worker)


def external_gpu(settings: ClusterSettings) -> list[str]:
    """The GPU that a worker that was started outside of foal claims; none if it sees none or may use none."""
    devices = [] if settings.device == "cpu" else available_gpus()
    return [claim_gpu(devices)] if devices else []


_claims: dict[str, socket.socket] = {}


def claim_gpu(devices: Sequence[str]) -> str:
    """Choose the first of the GPUs that the fewest workers of this machine use, and let this process see no other.

    Several `dask worker` processes on a machine see the same GPUs. A claim is the name of a socket, which the kernel
    frees when the process ends, however that happens; it lasts as long as the process. Workers of dask_cuda see their
    own GPU first and those of Slurm's --gpus-per-task see it alone, so that they keep it.

    Args:
        devices: GPUs, as in CUDA_VISIBLE_DEVICES; at least one. CUDA must not be initialized yet.
    """
    if _claims:
        return next(iter(_claims))
    for users in itertools.count():
        for device in devices:
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f"\0foal-gpu-{os.getuid()}-{device}-{users}")
            except OSError as error:
                claim.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            _claims[device] = claim
            os.environ["CUDA_VISIBLE_DEVICES"] = device
            return device
    raise AssertionError


def local_resources(settings: ClusterSettings, *, decode_threads: int = 0) -> Resources:
    """Divide this machine among workers. Raises UsageError if the settings name a GPU that does not exist."""
    devices = available_gpus() if settings.device != "cpu" else []
    name, _, number = settings.device.partition(":")
    if name == "cuda" and int(number or 0) >= len(devices):
        raise UsageError(f"cluster.device is {settings.device}, but PyTorch finds {len(devices)} GPUs; use auto or cpu")
    if number:
        devices = [devices[int(number)]]
    return allocate(settings, cores=available_cores(), devices=devices, decode_threads=decode_threads)
