"""Checks of the machine, with limits that are given."""

import resource
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from foal.predict.doctor.machine import (
    check_disk,
    check_hub,
    check_machine,
    check_memory,
    check_open_files,
    check_writing,
    existing_parent,
)

GIGABYTE = 10**9


def test_low_limits_are_warnings_and_an_empty_disk_is_a_failure() -> None:
    assert check_memory(16 * GIGABYTE).level == "OK"
    assert check_memory(3 * GIGABYTE).level == "warning"
    assert "--workers 1" in check_memory(3 * GIGABYTE).remedy
    assert check_open_files((1024, 4096)).level == "OK"  # the soft limit is raised by extraction
    assert check_open_files((256, 512)).level == "warning"
    assert check_open_files((resource.RLIM_INFINITY,) * 2).level == "OK"
    levels = [check_disk(Path("features"), free).level for free in (GIGABYTE // 20, GIGABYTE, 20 * GIGABYTE)]
    assert levels == ["failure", "warning", "OK"]


def test_the_write_test_leaves_nothing_behind(tmp_path: Path) -> None:
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
    assert check_writing(tmp_path).level == "OK"
    assert list(tmp_path.iterdir()) == []
    found = check_writing(Path("/proc"))
    assert found.level == "failure"
    assert "cannot be written" in found.text


def test_the_machine_is_checked_without_network(tmp_path: Path) -> None:
    found = list(check_machine(tmp_path / "features", hub=False))
    names = ["processors", "memory", "file limit", "disk", "write test", "model cache"]
    assert [finding.check for finding in found] == names


class Refusing(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(403)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def test_a_hub_that_answers_is_reachable_and_another_one_no_failure() -> None:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert check_hub(f"http://127.0.0.1:{server.server_port}", offline=False).level == "OK"
        server.shutdown()
    assert check_hub("http://127.0.0.1:9", offline=True).level == "warning"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        found = check_hub(f"http://127.0.0.1:{silent.getsockname()[1]}", offline=False, timeout=0.2)
    assert (found.level, "cannot be reached" in found.text) == ("warning", True)
    assert check_hub("nonsense", offline=False).level == "warning"


@pytest.mark.parametrize("kind", ["file", "missing"])
def test_a_features_folder_that_does_not_exist_yet_is_checked_above(tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "features").touch()
    assert existing_parent(tmp_path / "features") == tmp_path
