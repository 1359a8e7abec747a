"""Who can talk to the workers of a local run: its own processes, and nobody else."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client

from foal.shared.cluster import NamedPlugin, local_cluster

pytestmark = pytest.mark.slow


class Nothing(NamedPlugin):
    name = "nothing"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with local_cluster(1, Nothing()) as client:
        yield client


def test_it_works(client: Client) -> None:
    assert client.submit(os.getpid).result() != os.getpid()


def test_everything_listens_on_the_loopback_alone(client: Client) -> None:
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    ports = [c.laddr for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert len(ports) >= 4
    assert {address.ip for address in ports} == {"127.0.0.1"}


CONNECT = "import sys; from distributed import Client; Client(sys.argv[1], timeout=3); print('let in')"


@pytest.mark.parametrize("scheme", ["tls://", "tcp://"])
def test_without_its_certificate_nobody_is_let_in(client: Client, scheme: str) -> None:
    address = client.scheduler.address
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
    done = foal("extract", "-s", "all", "-m", "m.csv", "-r", synthetic_corpus, "--scheduler", client.scheduler.address)
    assert done.returncode == 2
    assert "TLS do not fit together" in done.stderr


TALK = """
import time
from distributed import get_worker
from foal.shared.cluster import NamedPlugin, local_cluster

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


def test_a_run_that_ends_while_its_workers_talk_says_its_one_sentence(tmp_path: Path) -> None:
    """Dask's scheduler finds its client gone, which it calls critical."""
    script = tmp_path / "talk.py"
    script.write_text(TALK)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "it ends over a mistake\n"
