"""Checks of Python, the libraries, the decoders and the GPU."""

import importlib.util
import platform
import re
import sys
from collections.abc import Collection, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from .finding import Finding, failure, ok, warning

TESTED_PYTHON = (3, 11), (3, 12)
DISTRIBUTION = "foal-mer"
DECODERS = {
    "video": ("h264", "hevc", "mpeg4", "vp8", "vp9", "av1", "mjpeg", "flv"),
    "audio": ("aac", "mp3", "opus", "vorbis", "flac", "pcm_s16le", "ac3"),
}
"""Codecs of FFmpeg that media of corpora have."""
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def check_software() -> Iterator[Finding]:
    """Python, the required packages, PyTorch with CUDA, decord, PyAV and DVC."""
    yield _python()
    yield check_packages(requires(DISTRIBUTION) or [])
    yield from _torch()
    yield _decord()
    yield _pyav()
    yield _dvc()


def _python() -> Finding:
    found = (
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, foal {version(DISTRIBUTION)}"
    )
    if sys.version_info[:2] in TESTED_PYTHON and sys.platform == "linux":
        return ok("Python", found)
    return warning("Python", found, "foal is tested with Python 3.11 and 3.12 on Linux")


def check_packages(requirements: Collection[str]) -> Finding:
    """Compare the installed packages with requirements, as in the metadata of foal; extras do not count."""
    if not requirements:
        return warning("packages", "the installation has no list of requirements", "install foal again")
    problems, met = [], 0
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            problems.append(f"{requirement.name} is missing")
            continue
        met += 1
        if not requirement.specifier.contains(installed, prereleases=True):
            problems.append(f"{requirement.name} {installed} is not {requirement.specifier}")
    if problems:
        return failure("packages", ", ".join(problems), "install foal again with `pip install -c constraints.txt -e .`")
    return ok("packages", f"all {met} required packages are installed in allowed versions")


def _torch() -> Iterator[Finding]:
    try:
        import torch

        import_module("torchvision")  # fails if its build does not fit that of torch
    except Exception as error:
        yield failure("PyTorch", f"cannot be imported: {error}", "install torch and torchvision of one index again")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    yield ok("PyTorch", f"{torch.__version__} ({build}), {torch.get_num_threads()} threads")
    from ...shared.parallel.resources import GPU_DRIVERS

    driver = driver_version(NVIDIA_DRIVER.read_text() if NVIDIA_DRIVER.exists() else "")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        listed = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in names)
        yield ok("GPU", f"{listed}, driver {driver or 'unknown'}")
    elif any(Path(path).exists() for path in GPU_DRIVERS):
        yield warning(
            "GPU",
            f"there is a driver ({driver or 'unknown version'}), but PyTorch finds no GPU; everything runs on the CPU",
            "compare `nvidia-smi` with the CUDA version of PyTorch, and look at CUDA_VISIBLE_DEVICES",
        )
    else:
        yield ok("GPU", "none; everything runs on the CPU")


def driver_version(text: str) -> str | None:
    """The version in /proc/driver/nvidia/version; None without one."""
    match = re.search(r"Kernel Module.*? (\d+\.[\d.]+)", text)
    return match[1] if match else None


def _decord() -> Finding:
    try:
        import decord
    except Exception as error:
        reason = "is not installed" if isinstance(error, ImportError) else f"cannot be imported: {error}"
        return warning("decord", reason, "PyAV decodes the videos instead, which is slower; pip install decord")
    return ok("decord", f"{decord.__version__}")


def _pyav() -> Finding:
    try:
        import av
    except Exception as error:
        return failure("PyAV", f"cannot be imported: {error}", "pip install 'av>=14'")
    found = f"{av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"
    if missing := missing_decoders(av.codecs_available):
        return warning("PyAV", f"{found}, without {', '.join(missing)}", "install PyAV's wheel of PyPI, which has them")
    return ok("PyAV", f"{found}, decodes {', '.join(codec for codecs in DECODERS.values() for codec in codecs)}")


def missing_decoders(available: Collection[str]) -> list[str]:
    """The codecs of DECODERS that no available decoder has; a decoder may be a library, such as libdav1d for av1."""
    names = {"av1": ("av1", "libdav1d", "libaom-av1"), "mp3": ("mp3", "mp3float"), "opus": ("opus", "libopus")}
    wanted = [codec for codecs in DECODERS.values() for codec in codecs]
    return [codec for codec in wanted if not set(names.get(codec, (codec,))) & set(available)]


def _dvc() -> Finding:
    if importlib.util.find_spec("dvc") is None:
        return warning("DVC", "is not installed", "only `dvc repro` needs it: pip install 'dvc>=3.60'")
    return ok("DVC", version("dvc"))
