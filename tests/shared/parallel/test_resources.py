"""Allocation of cores and GPUs to workers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foal.shared.config.settings import ClusterSettings
from foal.shared.errors import UsageError
from foal.shared.parallel.resources import (
    Resources,
    allocate,
    available_cores,
    available_gpus,
    decode_bytes,
    local_resources,
    pin_gpu,
    visible_device,
)


def allocated(cores: int, devices: tuple[str, ...] = (), decode_threads: int = 0, **settings: object) -> Resources:
    cluster = ClusterSettings(**settings)  # type: ignore[arg-type]
    return allocate(cluster, cores=cores, devices=devices, decode_threads=decode_threads)


def test_configured_threads_and_workers_are_used() -> None:
    assert allocated(16, workers=2, threads=1) == Resources(workers=2, devices=(), threads=1, decode_threads=1)
    assert allocated(16, ("0",), threads=2).decode_threads == 8
    if not available_gpus():
        with pytest.raises(UsageError, match=r"cluster.device is cuda"):
            local_resources(ClusterSettings(device="cuda"))


@pytest.mark.parametrize(("cores", "workers", "threads"), [(1, 1, 1), (2, 2, 1), (4, 2, 2), (9, 4, 2), (64, 32, 2)])
def test_without_gpus_there_is_one_worker_per_two_cores(cores: int, workers: int, threads: int) -> None:
    assert allocated(cores) == Resources(workers=workers, devices=(), threads=threads, decode_threads=1)


def test_with_gpus_there_is_one_worker_per_gpu_and_cores_decode() -> None:
    resources = allocated(32, ("0", "1"))
    assert resources == Resources(workers=2, devices=("0", "1"), threads=16, decode_threads=8)
    assert allocated(32, ("0", "1"), device="cpu").devices == ()
    assert allocated(32, ("0", "1"), workers=4, decode_threads=3) == Resources(
        workers=4, devices=("0", "1"), threads=8, decode_threads=3
    )


def test_several_workers_share_a_gpu() -> None:
    resources = allocated(16, ("0",), workers=4)
    assert resources == Resources(workers=4, devices=("0",), threads=4, decode_threads=4)
    assert {visible_device(resources.devices, str(number)) for number in range(4)} == {"0"}


def test_decoded_media_take_a_quarter_of_the_memory_of_a_worker_with_a_gpu() -> None:
    assert decode_bytes(32 << 30, gpu=True) == 8 << 30
    assert decode_bytes(1 << 50, gpu=True) == 16 << 30
    assert decode_bytes(1 << 20, gpu=True) == decode_bytes(32 << 30, gpu=False) == 64 << 20


def test_each_worker_sees_its_own_gpu() -> None:
    devices = ["3", "GPU-8932f937", "5"]
    assert [visible_device(devices, str(number)) for number in range(5)] == [
        "3",
        "GPU-8932f937",
        "5",
        "3",
        "GPU-8932f937",
    ]


def test_hidden_gpus_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("foal.shared.parallel.resources.GPU_DRIVERS", (str(tmp_path),))
    # PyTorch counts visible devices only.
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert available_gpus({}) == ["0", "1"]
    assert available_gpus({"CUDA_VISIBLE_DEVICES": "5, 7"}) == ["5", "7"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert available_gpus({"CUDA_VISIBLE_DEVICES": ""}) == []


def test_pytorch_is_not_imported_without_a_gpu_driver() -> None:
    code = (
        "import sys; from foal.shared.parallel import resources; resources.GPU_DRIVERS = ('/nowhere',)\n"
        "print(resources.available_gpus(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[] False\n"


def test_a_worker_is_pinned_to_its_gpu_and_others_keep_their_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    pin_gpu(None, "1")
    pin_gpu(allocated(4), "1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
    pin_gpu(allocated(4, ("3", "5")), "1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"


def test_available_cores_are_limited_by_the_cpu_affinity() -> None:
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))


CLAIM = """
import os, sys
from foal.shared.parallel.resources import claim_gpu
devices = sys.argv[1].split(",")
device = claim_gpu(devices)
assert os.environ["CUDA_VISIBLE_DEVICES"] == device
assert claim_gpu([device]) == device  # the next run in this worker
print(device, flush=True)
sys.stdin.read()
"""


def test_workers_of_one_machine_share_the_gpus_out() -> None:
    """The devices have names that no other process uses; the claims of a process end with it, even if it is killed."""
    name = f"test{os.getpid()}"
    devices = [f"{name}-{number}" for number in range(2)]
    processes: list[subprocess.Popen[str]] = []

    def claim(visible: list[str]) -> str:
        command = [sys.executable, "-c", CLAIM, ",".join(visible)]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout is not None
        return processes[-1].stdout.readline().strip()

    try:
        assert [claim(devices) for _ in range(3)] == [devices[0], devices[1], devices[0]]
        processes[1].kill()
        processes[1].wait()
        assert claim(devices) == devices[1]
        # As with dask_cuda: each worker sees all GPUs, its own first.
        assert claim(devices[::-1]) == devices[1]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
