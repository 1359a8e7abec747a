"""How a machine's cores and GPUs are shared out among workers; pure but for looking what there is."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..config.settings import ClusterSettings
from ..errors import UsageError

MOST_DECODERS = 8


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The workers of a run: how many, on which GPUs (none: on the CPU), with how many threads each."""

    workers: int
    devices: tuple[str, ...]
    threads: int
    decode_threads: int

    @classmethod
    def for_external_worker(cls, settings: ClusterSettings, *, threads: int, decode_threads: int) -> "Resources":
        """What a worker that somebody else has started makes of itself: one, with the GPU that it was given, if any."""
        devices = [] if settings.device == "cpu" else available_gpus()[:1]
        return allocate(settings, cores=threads, devices=devices, decode_threads=decode_threads)


def allocate(settings: ClusterSettings, *, cores: int, devices: Sequence[str], decode_threads: int = 0) -> Resources:
    """One worker per GPU, or per two cores, and the cores shared out among them, where the settings do not say.

    On a machine of two cores two workers: a second thread would gain less than a second worker.
    """
    workers = settings.workers
    devices = () if settings.device == "cpu" else tuple(devices)
    usual = len(devices) or max(min(2, cores), cores // 2)
    count = workers or usual
    threads = settings.threads or max(1, cores // count)
    return Resources(
        workers=count,
        devices=devices,
        threads=threads,
        decode_threads=decode_threads or (min(MOST_DECODERS, max(1, cores // count)) if devices else 1),
    )


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def available_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; asks the driver, but opens none."""
    import torch

    count = torch.cuda.device_count()
    named = environment.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in named.split(",")] if named else [str(number) for number in range(count)]
    return names[:count]


def visible_device(devices: Sequence[str], worker: str) -> str:
    """The GPU of a worker, by the number that is its name; workers beyond the GPUs share them."""
    return devices[int(worker) % len(devices)]


def local_resources(settings: ClusterSettings, *, decode_threads: int = 0) -> Resources:
    """The present machine, shared out as the settings say. Raises UsageError where they want a GPU in vain."""
    devices = available_gpus() if settings.device != "cpu" else []
    name, _, number = settings.device.partition(":")
    if name == "cuda" and int(number or 0) >= len(devices):
        raise UsageError(f"cluster.device is {settings.device}, but PyTorch sees {len(devices)} GPUs; use auto or cpu")
    if number:
        devices = [devices[int(number)]]
    return allocate(settings, cores=available_cores(), devices=devices, decode_threads=decode_threads)
