"""The workers of a run: who can connect to them, what they need, and how errors are reported."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client

from foal.shared.parallel.cluster import NamedPlugin, local_cluster

pytestmark = pytest.mark.slow


class Nothing(NamedPlugin):
    name = "nothing"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_cluster(1, Nothing()) as client:
        yield client


def address_of(client: Client) -> str:
    assert client.scheduler is not None
    return str(client.scheduler.address)


def test_tasks_run_in_another_process(client: Client) -> None:
    assert client.submit(os.getpid).result() != os.getpid()


def test_all_sockets_listen_on_the_loopback_only(client: Client) -> None:
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    ports = [c.laddr for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert len(ports) >= 4
    assert {address.ip for address in ports} == {"127.0.0.1"}


CONNECT = "import sys; from distributed import Client; Client(sys.argv[1], timeout=3); print('let in')"


@pytest.mark.parametrize("scheme", ["tls://", "tcp://"])
def test_clients_without_the_certificate_are_refused(client: Client, scheme: str) -> None:
    address = address_of(client)
    assert address.startswith("tls://127.0.0.1:")
    # In a process of its own: a client that fails may wait for itself when it is thrown away.
    other = [sys.executable, "-c", CONNECT, address.replace("tls://", scheme)]
    done = subprocess.run(other, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "let in" not in done.stdout


def test_an_address_without_its_certificates_is_named(
    client: Client, foal: Callable[..., "subprocess.CompletedProcess[str]"], synthetic_corpus: Path
) -> None:
    assert foal("manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    done = foal("extract", "-s", "all", "-m", "m.csv", "-r", synthetic_corpus, "--scheduler", address_of(client))
    assert done.returncode == 2
    assert "TLS do not match" in done.stderr


WITHOUT_FOAL = """
import sys
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "foal":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nowhere())
"""


def test_workers_without_foal_are_named(
    foal: Callable[..., "subprocess.CompletedProcess[str]"], synthetic_corpus: Path, tmp_path: Path
) -> None:
    assert foal("manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    (tmp_path / "without").mkdir()
    (tmp_path / "without/sitecustomize.py").write_text(WITHOUT_FOAL)
    scheduler_file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    scheduler = subprocess.Popen(
        [
            *dask,
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(scheduler_file),
        ],
        **quiet,
    )
    worker = subprocess.Popen(
        [
            *dask,
            "worker",
            "--no-nanny",
            "--no-dashboard",
            "--scheduler-file",
            str(scheduler_file),
            "--local-directory",
            str(tmp_path),
        ],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "without")},
        **quiet,
    )
    try:
        with Client(scheduler_file=str(scheduler_file), timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
            address = client.scheduler.address
        done = foal(
            "extract",
            "-s",
            "all",
            "-m",
            "m.csv",
            "-r",
            synthetic_corpus,
            "--streams",
            "audio",
            "--scheduler",
            address,
        )
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
    assert done.returncode == 2
    assert f"foal: --scheduler {address}: expected workers with this version of foal" in done.stderr
    assert "No module named 'foal'" in done.stderr
    assert "Traceback" not in done.stderr


def test_few_file_descriptors_are_named(
    synthetic_corpus: Path, foal: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    assert foal("manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    command = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (28, 28))
from foal.shared.cli.main import main
main()
"""
    options = ["extract", "-s", "all", "-m", "m.csv", "-r", str(synthetic_corpus), "--streams", "audio", "-j", "1"]
    done = subprocess.run(
        [sys.executable, "-c", command, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "file descriptors" in done.stderr
    assert done.stderr.count("\n") == 1


TALK = """
import time
from distributed import get_worker
from foal.shared.parallel.cluster import NamedPlugin, local_cluster

class Nothing(NamedPlugin):
    name = "nothing"

def talk():
    while True:
        get_worker().log_event("said", "something")
        time.sleep(0.0005)

if __name__ == "__main__":
    with local_cluster(2, Nothing()) as client:
        client.subscribe_topic("said", lambda event: None)
        talking = [client.submit(talk, pure=False) for _ in range(2)]
        time.sleep(1.5)
        raise SystemExit("it ends over a mistake")
"""


def test_a_run_that_ends_during_events_prints_one_sentence(tmp_path: Path) -> None:
    """Dask's scheduler finds its client gone, which it calls critical."""
    script = tmp_path / "talk.py"
    script.write_text(TALK)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "it ends over a mistake\n"


WITHOUT_CRYPTOGRAPHY = """
import os, sys
from foal.shared.cli.logs import configure_logging
from foal.shared.config.settings import ClusterSettings
from foal.shared.parallel.cluster import NamedPlugin, open_cluster

class Nothing(NamedPlugin):
    name = "nothing"

if __name__ == "__main__":
    configure_logging()
    sys.modules["cryptography"] = None
    with open_cluster(ClusterSettings(), Nothing(), workers=1) as client:
        print(client.scheduler.address, client.submit(os.getpid).result() != os.getpid())
"""


def test_without_cryptography_the_connections_are_plain_and_a_warning_says_so(tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(WITHOUT_CRYPTOGRAPHY)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "tcp://127.0.0.1:" in done.stdout
    assert "True" in done.stdout
    assert " ".join((done.stdout + done.stderr).split()).count("connections to the workers are not encrypted") == 1
