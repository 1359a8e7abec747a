"""Workers that are forked from one process: what they inherit, and what the main process keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

TWO_WORKERS = """
import json, os, signal, sys, time

def state():
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "imported": "graphlib" in sys.modules,
        "environment": {name: os.environ.get(name) for name in ENVIRONMENT},
        "ignored": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])) == [signal.SIGHUP, signal.SIGINT],
    }

from foal.shared.parallel.fork_server import DASK_ENVIRONMENT, WORKER_ENVIRONMENT, start_fork_server, start_method
ENVIRONMENT = {**DASK_ENVIRONMENT, **WORKER_ENVIRONMENT}

if __name__ == "__main__":
    from foal.shared.parallel.cluster import local_cluster
    from foal.shared.parallel.plugin import NamedPlugin

    if sys.argv[1] == "fork":
        before = dict(os.environ)
        start_fork_server(["no_such_module", "broken_module", "graphlib"])
        start_fork_server(["ignored"])
        assert dict(os.environ) == before
    with local_cluster(2, NamedPlugin("test")) as client:
        states = list(client.run(state).values())
        os.kill(states[0]["pid"], signal.SIGKILL)
        while len(pids := client.run(os.getpid, on_error="ignore")) < 2 or states[0]["pid"] in pids.values():
            time.sleep(0.1)
        states += [new for new in client.run(state).values() if new["pid"] not in {s["pid"] for s in states}]
    imported = "graphlib" in sys.modules
    print(json.dumps({"pid": os.getpid(), "method": start_method(), "imported": imported, "states": states}))
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fork")
    (folder / "broken_module.py").write_text("raise RuntimeError('operator does not exist')\n")
    (folder / "script.py").write_text(TWO_WORKERS)
    return folder / "script.py"


def run(script: Path, method: str) -> dict[str, Any]:
    command = [sys.executable, str(script), method]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def forked(script: Path) -> dict[str, Any]:
    return run(script, "fork")


def test_all_workers_and_their_successors_are_forked_from_one_process(forked: dict[str, Any]) -> None:
    assert forked["method"] == "forkserver"
    parents = {state["parent"] for state in forked["states"]}
    assert len(forked["states"]) == 3
    assert len(parents) == 1
    assert forked["pid"] not in parents


def test_workers_have_the_libraries_that_could_be_imported(forked: dict[str, Any]) -> None:
    assert all(state["imported"] for state in forked["states"])
    assert not forked["imported"]


def test_forked_and_spawned_workers_have_the_same_environment_and_ignore_ctrl_c(
    forked: dict[str, Any], script: Path
) -> None:
    spawned = run(script, "spawn")
    assert spawned["method"] == "spawn"
    assert {state["parent"] for state in spawned["states"]} == {spawned["pid"]}
    for state in (*forked["states"], *spawned["states"]):
        assert all(state["environment"].values())
        assert state["environment"] == forked["states"][0]["environment"]
        assert state["ignored"]


def test_a_command_that_ends_early_does_not_wait_for_the_imports(tmp_path: Path) -> None:
    (tmp_path / "slow_module.py").write_text("import time\nopen('started', 'w').close()\ntime.sleep(300)\n")
    code = (
        "import os, signal, time; from foal.shared.parallel.fork_server import start_fork_server\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "start_fork_server(['slow_module'])\n"
        "while not os.path.exists('started'): time.sleep(0.01)\n"
        "print('failed')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    # The fork server holds the other end of the pipe as long as it lives.
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("failed\n", "")


def test_workers_are_not_forked_on_a_machine_with_a_gpu(tmp_path: Path) -> None:
    code = (
        "import sys; from foal.shared.parallel import resources; resources.GPU_DRIVERS = (sys.argv[1],)\n"
        "from foal.shared.parallel.fork_server import start_fork_server, start_method\n"
        "start_fork_server([]); print(start_method())"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "spawn\n"
