"""Checks of libraries and decoders."""

import av

from foal.predict.doctor.software import DECODERS, check_packages, check_software, driver_version, missing_decoders

NVIDIA = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version: 12.3.0"


def test_missing_and_old_packages_are_failures() -> None:
    assert check_packages(["numpy>=1.0", "absent>=1; extra == 'x'"]).text == (
        "all 1 required packages are installed in allowed versions"
    )
    found = check_packages(["numpy>=99", "no-such-package"])
    assert found.level == "failure"
    assert "is not >=99" in found.text
    assert "no-such-package is missing" in found.text
    assert check_packages([]).level == "warning"


def test_decoders_may_be_libraries() -> None:
    every = [codec for codecs in DECODERS.values() for codec in codecs]
    assert missing_decoders({*every, "libdav1d"} - {"av1", "flv"}) == ["flv"]
    assert missing_decoders([]) == every
    assert missing_decoders(av.codecs_available) == []


def test_the_driver_is_read_from_its_file() -> None:
    assert driver_version(NVIDIA) == "535.183.01"
    assert driver_version("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release") == "570.86.15"
    assert driver_version("") is None


def test_this_environment_has_what_foal_needs() -> None:
    found = {finding.check: finding for finding in check_software()}
    assert list(found) == ["Python", "packages", "PyTorch", "GPU", "decord", "PyAV", "DVC"]
    assert [name for name, finding in found.items() if finding.level == "failure"] == []
