"""Paths in untrusted files must stay inside their folder."""

from pathlib import Path

import pytest

from foal.shared.files.confinement import Inside


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a.wav", ""),
        ("folder/../a.wav", ""),
        ("missing/a.wav", ""),
        ("inside/a.wav", ""),
        ("/etc/passwd", "absolute"),
        ("..", r"through \.\."),
        ("folder/../../a.wav", r"through \.\."),
        ("outside/a.wav", "through a symbolic link"),
        ("outside.wav", "through a symbolic link"),
    ],
)
def test_the_reason_states_how_a_path_leaves_the_folder(tmp_path: Path, path: str, reason: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "root2").mkdir()
    (root / "inside").symlink_to("folder")
    (root / "outside").symlink_to("../root2")
    (root / "outside.wav").symlink_to("/etc/hostname")
    escape_reason = Inside(root).escape_reason(path)
    assert (reason == "") == (escape_reason == "")
    assert reason.replace("\\", "") in escape_reason
