"""A scheduler or workers with another version of foal, or without it, are refused in one sentence."""

import os
from pathlib import Path

import pytest
from distributed import Client

from foal import __version__
from foal.shared.config.settings import ClusterSettings
from foal.shared.errors import UsageError
from foal.shared.parallel.cluster import open_cluster
from foal.shared.parallel.plugin import NamedPlugin
from foal.tests.shared.parallel.dask_processes import DaskProcesses

pytestmark = pytest.mark.slow

BLOCK_FOAL = """
import sys
class FoalBlocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "foal":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, FoalBlocker())
"""


def environment(folder: Path, version: str) -> dict[str, str]:
    """Variables of a process with another version of foal, or without it ("")."""
    folder.mkdir()
    if version:
        (folder / f"foal_mer-{version}.dist-info").mkdir()
        (folder / f"foal_mer-{version}.dist-info/METADATA").write_text(f"Name: foal-mer\nVersion: {version}\n")
    else:
        (folder / "sitecustomize.py").write_text(BLOCK_FOAL)
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def refusal(address: str) -> str:
    with (
        pytest.raises(UsageError) as caught,
        open_cluster(ClusterSettings(scheduler=address), NamedPlugin("test"), workers=0),
    ):
        pass
    return str(caught.value)


@pytest.mark.parametrize(("version", "got"), [("9.9.9", "foal 9.9.9"), ("", "none")])
def test_a_scheduler_with_another_version_or_without_foal_is_refused(
    dask_processes: DaskProcesses, tmp_path: Path, version: str, got: str
) -> None:
    address = dask_processes.scheduler(environment=environment(tmp_path / "other", version))
    assert refusal(address) == (
        f"--scheduler {address}: expected a scheduler with foal {__version__}, the version of this command, got {got}; "
        "install the same foal in its environment"
    )


@pytest.mark.parametrize(("version", "got"), [("9.9.9", "foal 9.9.9"), ("", "none")])
def test_workers_with_another_version_or_without_foal_are_refused(
    dask_processes: DaskProcesses, tmp_path: Path, version: str, got: str
) -> None:
    address = dask_processes.scheduler()
    dask_processes.worker(environment=environment(tmp_path / "other", version))
    with Client(address) as client:
        client.wait_for_workers(1, timeout=60)
    assert refusal(address) == (
        f"--scheduler {address}: expected workers with foal {__version__}, the version of this command, got {got}; "
        "install the same foal in their environment"
    )
