"""How cores and GPUs are shared out."""

import pytest

from foal.shared.config.settings import ExtractSettings
from foal.shared.errors import UsageError
from foal.shared.parallel.resources import Resources, allocate, available_gpus, local_resources, visible_device


def shared(cores: int, devices: tuple[str, ...] = (), **chosen: object) -> Resources:
    return allocate(ExtractSettings(**chosen), cores=cores, devices=devices)  # type: ignore[arg-type]


def test_threads_and_workers_as_they_are_chosen() -> None:
    assert shared(16, workers=2, threads=1) == Resources(workers=2, devices=(), threads=1, decode_threads=1)
    assert shared(16, ("0",), threads=2).decode_threads == 8
    if not available_gpus():
        with pytest.raises(UsageError, match=r"cluster.device is cuda"):
            local_resources(ExtractSettings(device="cuda"))


@pytest.mark.parametrize(("cores", "workers", "threads"), [(1, 1, 1), (2, 2, 1), (4, 2, 2), (9, 4, 2), (64, 32, 2)])
def test_without_gpus_a_worker_per_two_cores(cores: int, workers: int, threads: int) -> None:
    assert shared(cores) == Resources(workers=workers, devices=(), threads=threads, decode_threads=1)


def test_with_gpus_a_worker_each_and_the_cores_decode() -> None:
    machine = shared(32, ("0", "1"))
    assert machine == Resources(workers=2, devices=("0", "1"), threads=16, decode_threads=8)
    assert shared(32, ("0", "1"), device="cpu").devices == ()
    assert shared(32, ("0", "1"), workers=4, decode_threads=3) == Resources(
        workers=4, devices=("0", "1"), threads=8, decode_threads=3
    )


def test_each_worker_sees_its_own_gpu() -> None:
    devices = ["3", "GPU-8932f937", "5"]
    assert [visible_device(devices, str(number)) for number in range(5)] == [
        "3",
        "GPU-8932f937",
        "5",
        "3",
        "GPU-8932f937",
    ]


def test_what_the_user_hides_is_not_used() -> None:
    assert available_gpus({"CUDA_VISIBLE_DEVICES": ""}) == available_gpus({})[: len(available_gpus({}))]
    assert len(available_gpus({"CUDA_VISIBLE_DEVICES": "5,7"})) <= 2
