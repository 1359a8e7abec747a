"""Detection and removal of temporary files of killed processes."""

import os
import socket
from pathlib import Path

import pytest

from foal.shared.files.atomic import remove_stale_temporaries, temporary_is_stale

PREFIX = f".tmp-{socket.gethostname()}"
DEAD_PID = 2**22 + 1  # above the largest process ID of Linux


@pytest.mark.parametrize("pid", ["9" * 20, "9" * 10, "9" * 5000, "\u00b2", "\u0661", "-1", "+1", "1_0", " 1", "", "x"])
def test_temporary_names_without_a_process_id_are_kept(pid: str) -> None:
    assert not temporary_is_stale(Path(f"{PREFIX}~{pid}~x"))


def test_only_temporary_files_of_the_index_are_removed_next_to_it(tmp_path: Path) -> None:
    index = tmp_path / "a[b]*.h5"  # must not be used as a glob pattern
    of_index = tmp_path / f"{PREFIX}~{DEAD_PID}~{index.name}"
    of_features = tmp_path / "features" / "one" / f"{PREFIX}~{DEAD_PID}~x.h5"
    kept = [
        f"{PREFIX}~{DEAD_PID}~{name}"
        for name in (f"other~{index.name}", "feats.h5", f"{index.name}~", "ab.h5", "ax.h5")
    ] + [f"{PREFIX}~{os.getppid()}~{index.name}", f".tmp-elsewhere~{DEAD_PID}~{index.name}", index.name]
    of_features.parent.mkdir(parents=True)
    for path in (of_index, of_features, *(tmp_path / name for name in kept)):
        path.write_text("half")
    remove_stale_temporaries(tmp_path / "features")
    assert (of_index.exists(), of_features.exists()) == (True, False)
    remove_stale_temporaries(tmp_path / "features", index)
    assert {path.name for path in tmp_path.iterdir()} == {"features", *kept}


def test_the_holder_of_a_folder_removes_temporary_files_of_other_hosts_and_a_part_only_its_own(tmp_path: Path) -> None:
    names = {
        f".tmp-elsewhere~{os.getppid()}~a.h5",
        ".tmp-elsewhere~1~b~c.h5",
        f"{PREFIX}~{DEAD_PID}~a.h5",
        f"{PREFIX}~{DEAD_PID}~b~c.h5",
        f"{PREFIX}~{os.getppid()}~a.h5",
    }
    for name in names:
        (tmp_path / name).write_text("half")

    def left() -> set[str]:
        return {path.name for path in tmp_path.iterdir()}

    remove_stale_temporaries(tmp_path, names={"c.h5"}, locked=True)
    assert left() == names
    remove_stale_temporaries(tmp_path, names={"b~c.h5"}, locked=True)
    assert left() == {name for name in names if name.endswith("~a.h5")}
    remove_stale_temporaries(tmp_path)
    assert left() == {f".tmp-elsewhere~{os.getppid()}~a.h5", f"{PREFIX}~{os.getppid()}~a.h5"}
    remove_stale_temporaries(tmp_path, locked=True)
    assert left() == {f"{PREFIX}~{os.getppid()}~a.h5"}
