"""Which half-written files are taken for those of killed runs."""

import os
import socket
from pathlib import Path

import pytest

from foal.shared.files.atomic import remove_stale_temporaries, temporary_is_stale

HERE = f".tmp-{socket.gethostname()}"
GONE = 2**22 + 1  # more than Linux numbers processes


@pytest.mark.parametrize("pid", ["9" * 20, "9" * 10, "9" * 5000, "\u00b2", "\u0661", "-1", "+1", "1_0", " 1", "", "x"])
def test_temporary_names_without_a_process_number_are_kept(pid: str) -> None:
    assert not temporary_is_stale(Path(f"{HERE}~{pid}~x"))


def test_beside_the_index_only_its_own_temporary_files_are_removed(tmp_path: Path) -> None:
    index = tmp_path / "a[b]*.h5"  # no pattern
    mine = tmp_path / f"{HERE}~{GONE}~{index.name}"
    inside = tmp_path / "features" / "one" / f"{HERE}~{GONE}~x.h5"
    kept = [
        f"{HERE}~{GONE}~{name}" for name in (f"other~{index.name}", "feats.h5", f"{index.name}~", "ab.h5", "ax.h5")
    ] + [f"{HERE}~{os.getppid()}~{index.name}", f".tmp-elsewhere~{GONE}~{index.name}", index.name]
    inside.parent.mkdir(parents=True)
    for path in (mine, inside, *(tmp_path / name for name in kept)):
        path.write_text("half")
    remove_stale_temporaries(tmp_path / "features")
    assert (mine.exists(), inside.exists()) == (True, False)
    remove_stale_temporaries(tmp_path / "features", index)
    assert {path.name for path in tmp_path.iterdir()} == {"features", *kept}
