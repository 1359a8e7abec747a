"""The workers of a run: protected connections, requirements and error messages."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client

from foal.shared.parallel.cluster import local_cluster
from foal.shared.parallel.plugin import NamedPlugin

pytestmark = pytest.mark.slow

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_cluster(1, NamedPlugin("noop")) as client:
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


CONNECT = "import sys; from distributed import Client; Client(sys.argv[1], timeout=3); print('access granted')"


@pytest.mark.parametrize("scheme", ["tls://", "tcp://"])
def test_clients_without_the_certificate_are_refused(client: Client, scheme: str) -> None:
    address = address_of(client)
    assert address.startswith("tls://127.0.0.1:")
    # In a separate process: a client that failed to connect can deadlock when it is garbage-collected.
    command = [sys.executable, "-c", CONNECT, address.replace("tls://", scheme)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode != 0
    assert "access granted" not in result.stdout


def test_an_encrypted_address_without_its_certificates_is_refused(
    client: Client, foal: Foal, foal_here: Foal, synthetic_corpus: Path
) -> None:
    assert foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    result = foal("extract", "-s", "all", "-m", "m.csv", "-r", synthetic_corpus, "--scheduler", address_of(client))
    assert result.returncode == 2
    assert "TLS do not match" in result.stderr


def test_too_few_file_descriptors_are_reported_in_one_sentence(
    synthetic_corpus: Path, foal_here: Foal, tmp_path: Path
) -> None:
    assert foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    command = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (28, 28))
from foal.shared.cli.main import main
main()
"""
    options = ["extract", "-s", "all", "-m", "m.csv", "-r", str(synthetic_corpus), "--streams", "audio", "-j", "1"]
    result = subprocess.run(
        [sys.executable, "-c", command, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 1
    assert "file descriptors" in result.stderr
    assert result.stderr.count("\n") == 1


LOG_EVENTS = """
import time
from distributed import get_worker
from foal.shared.parallel.cluster import local_cluster
from foal.shared.parallel.plugin import NamedPlugin

def log_events():
    while True:
        get_worker().log_event("events", "message")
        time.sleep(0.0005)

if __name__ == "__main__":
    with local_cluster(2, NamedPlugin("noop")) as client:
        client.subscribe_topic("events", lambda event: None)
        futures = [client.submit(log_events, pure=False) for _ in range(2)]
        time.sleep(1.5)
        raise SystemExit("the run failed")
"""


def test_a_run_that_fails_during_events_prints_one_sentence(tmp_path: Path) -> None:
    """The scheduler of Dask logs a lost client as critical; this message must not be printed."""
    script = tmp_path / "log_events.py"
    script.write_text(LOG_EVENTS)
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr == "the run failed\n"


WITHOUT_CRYPTOGRAPHY = """
import os, sys
from foal.shared.cli.logs import configure_logging
from foal.shared.config.settings import ClusterSettings
from foal.shared.parallel.cluster import open_cluster
from foal.shared.parallel.plugin import NamedPlugin

if __name__ == "__main__":
    configure_logging()
    sys.modules["cryptography"] = None
    with open_cluster(ClusterSettings(), NamedPlugin("noop"), workers=1) as client:
        print(client.scheduler.address, client.submit(os.getpid).result() != os.getpid())
"""


def test_without_cryptography_connections_are_unencrypted_with_a_warning(tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(WITHOUT_CRYPTOGRAPHY)
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "tcp://127.0.0.1:" in result.stdout
    assert "True" in result.stdout
    assert " ".join((result.stdout + result.stderr).split()).count("connections to the workers are not encrypted") == 1
