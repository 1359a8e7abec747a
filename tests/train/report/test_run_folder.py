import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from foal.shared.errors import FoalError, UsageError
from foal.train.report.run_folder import FITS, create_run_folder, reuse_run_folder, unfinished_run

METRICS = {"protocol": "loso-nested", "features": "0", "seeds": [0]}
METADATA = {"protocol": "loso-nested", "settings": {"epochs": 3, "seeds": [0]}}
OURS = frozenset({"metrics.json", "run.json", "run.log", "models", ".gitignore"})


def begin(
    out: Path, metadata: Mapping[str, Any] = METADATA, *, resume: bool = False, force: bool = False
) -> AbstractContextManager[Path]:
    return create_run_folder(out, metadata, ours=OURS, resume=resume, force=force)


def write(folder: Path, text: str) -> None:
    (folder / "metrics.json").write_text(json.dumps({**METRICS, "text": text}))


def interrupt(folder: Path, *, finished: str = "") -> None:
    write(folder, "half")
    if finished:
        (folder / FITS).mkdir(exist_ok=True)
        (folder / FITS / finished).write_text("a fit")
    raise KeyboardInterrupt


def text_in(folder: Path) -> str:
    return str(json.loads((folder / "metrics.json").read_text())["text"])


def test_a_run_is_published_complete_and_replaces_the_previous_run(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "both"
    with begin(out) as folder:
        assert folder == unfinished_run(out) == tmp_path / "runs" / ".both.unfinished"
        write(folder, "first")
        (folder / "models").mkdir()
        assert not out.exists()
    with begin(out, force=True) as folder:
        write(folder, "second")
        assert text_in(out) == "first"
    assert text_in(out) == "second"
    assert sorted(os.listdir(out)) == ["metrics.json", "run.json", "run.log"]
    assert json.loads((out / "run.json").read_text()) == METADATA
    assert os.listdir(out.parent) == ["both"]


def test_a_failed_run_keeps_the_previous_run(tmp_path: Path) -> None:
    out = tmp_path / "both"
    with begin(out) as folder:
        write(folder, "first")
    with pytest.raises(KeyboardInterrupt), begin(out, force=True) as folder:
        interrupt(folder)
    assert text_in(out) == "first"
    assert os.listdir(tmp_path) == ["both"]


def test_finished_fits_are_kept_for_resume(tmp_path: Path) -> None:
    out = tmp_path / "both"
    with begin(out) as folder:
        write(folder, "first")
    with pytest.raises(KeyboardInterrupt), begin(out, force=True) as folder:
        interrupt(folder, finished="1.npz")
    assert text_in(out) == "first"
    assert sorted(os.listdir(tmp_path)) == [".both.unfinished", "both"]
    with pytest.raises(KeyboardInterrupt), begin(out, resume=True) as folder:
        interrupt(folder, finished="2.npz")
    with begin(out, resume=True) as folder:
        assert sorted(os.listdir(folder / FITS)) == ["1.npz", "2.npz"]
        write(folder, "second")
    assert text_in(out) == "second"
    assert sorted(os.listdir(out)) == ["metrics.json", "run.json", "run.log"]
    assert os.listdir(tmp_path) == ["both"]


def test_an_interrupted_run_is_discarded_only_with_force(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), begin(tmp_path / "both") as folder:
        interrupt(folder, finished="1.npz")
    (folder / "models").mkdir()
    other = {**METADATA, "protocol": "other"}
    with (
        pytest.raises(FoalError, match="an interrupted run exists; continue it with --resume"),
        begin(tmp_path / "both"),
    ):
        pass
    assert os.listdir(folder / FITS) == ["1.npz"]
    with begin(tmp_path / "both", resume=True, force=True) as folder:
        assert os.listdir(folder / FITS) == ["1.npz"]
        write(folder, "done")
    with pytest.raises(KeyboardInterrupt), begin(tmp_path / "both", force=True) as folder:
        interrupt(folder, finished="2.npz")
    with begin(tmp_path / "both", other, resume=True, force=True) as folder:
        assert sorted(os.listdir(folder)) == [FITS, "run.json", "run.log"]
        assert os.listdir(folder / FITS) == []


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({**METADATA, "settings": {"epochs": 4, "seeds": [0]}}, "train.epochs was 3, is now 4;"),
        ({**METADATA, "settings": {"epochs": 3, "seeds": [0, 1]}}, "train.seeds was 0, is now 0, 1;"),
        ({**METADATA, "width": 8}, "width was none, is now 8;"),
        ({"protocol": "x"}, "protocol was loso-nested, is now x (and 2 more);"),
    ],
    ids=str,
)
def test_another_configuration_is_refused_without_data_loss(
    tmp_path: Path, metadata: dict[str, Any], message: str
) -> None:
    with pytest.raises(KeyboardInterrupt), begin(tmp_path / "both") as folder:
        interrupt(folder, finished="1.npz")
    with pytest.raises(UsageError) as caught, begin(tmp_path / "both", metadata, resume=True):
        pass
    assert f"both: the interrupted run has another configuration: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)
    with begin(tmp_path / "both", resume=True) as folder:
        assert os.listdir(folder / FITS) == ["1.npz"]


def test_a_damaged_configuration_counts_as_different(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), begin(tmp_path / "both") as folder:
        interrupt(folder, finished="1.npz")
    (folder / "run.json").write_text("{")
    with pytest.raises(UsageError, match="another configuration"), begin(tmp_path / "both", resume=True):
        pass


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_folder_is_locked_by_one_process(tmp_path: Path, resume: bool) -> None:
    hold = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(1, flush=True);"
    with pytest.raises(KeyboardInterrupt), begin(tmp_path / "both") as folder:
        interrupt(folder, finished="1.npz")
    command = [sys.executable, "-c", hold + "sys.stdin.read()", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with (
            pytest.raises(
                UsageError, match="both: another process is writing this run; wait for it, or choose another"
            ),
            begin(tmp_path / "both", resume=resume),
        ):
            pass
        other.communicate()
    assert os.listdir(folder / FITS) == ["1.npz"]
    with begin(tmp_path / "both", resume=True), pytest.raises(UsageError), begin(tmp_path / "both"):
        pass


def test_only_run_folders_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "metrics.json").write_text('{"accuracy": 1}')
    (tmp_path / "notes.txt").write_text("mine")
    for name in ("thesis", "notes.txt", "."):
        with pytest.raises(UsageError, match="expected a new folder or the folder of a run"), begin(tmp_path / name):
            pass
    (tmp_path / "empty").mkdir()
    with begin(tmp_path / "empty") as folder:
        write(folder, "fine")
    assert text_in(tmp_path / "empty") == "fine"


def test_an_unwritable_path_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FoalError, match=r"file/run: cannot be written: \w+"), begin(tmp_path / "file" / "run"):
        pass


def test_a_run_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    with begin(tmp_path / "both") as folder:
        write(folder, "first")
    (tmp_path / "both" / "notes.md").write_text("mine")
    with pytest.raises(UsageError), begin(tmp_path / "both"):
        pass
    assert (tmp_path / "both" / "notes.md").read_text() == "mine"


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "both").symlink_to(tmp_path / "disk")
    for text in ("first", "second"):
        with begin(tmp_path / "both", force=True) as folder:
            write(folder, text)
    assert (tmp_path / "both").is_symlink()
    assert text_in(tmp_path / "both") == "second"
    assert sorted(os.listdir(tmp_path)) == ["both", "disk"]


def test_leftovers_of_killed_runs_are_removed(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    prefix = f".tmp-{socket.gethostname()}"
    dead, own, running = f"{prefix}~{int(process.stdout)}", f"{prefix}~{os.getpid()}", f"{prefix}~{os.getppid()}"
    (tmp_path / f"{dead}~previous-both").mkdir()
    write(tmp_path / f"{dead}~previous-both", "older")
    kept = [f"{running}~previous-both", f".tmp-elsewhere~{int(process.stdout)}~previous-both", f"{dead}~other"]
    for name in kept:
        (tmp_path / name).mkdir()
    with pytest.raises(KeyboardInterrupt), begin(tmp_path / "both", force=True) as folder:
        interrupt(folder)
    assert text_in(tmp_path / "both") == "older"
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "both"])
    # From an earlier process with the same process ID, which had published its new run.
    (tmp_path / f"{own}~previous-both" / "models").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), begin(tmp_path / "both", force=True) as folder:
        interrupt(folder)
    assert text_in(tmp_path / "both") == "older"
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "both"])


def test_a_reused_folder_keeps_its_files(tmp_path: Path) -> None:
    out = tmp_path / "ablation"
    with pytest.raises(KeyboardInterrupt), reuse_run_folder(out, frozenset({FITS, "metrics.json"})) as folder:
        interrupt(folder, finished="1.npz")
    with reuse_run_folder(out, frozenset({FITS, "metrics.json"})) as folder:
        assert folder == out
        assert os.listdir(folder / FITS) == ["1.npz"]
        with (
            pytest.raises(UsageError, match="another process is writing this run"),
            reuse_run_folder(out, frozenset({FITS, "metrics.json"})),
        ):
            pass
    (out / "notes.md").write_text("mine")
    with (
        pytest.raises(UsageError, match="expected a new folder or one of an earlier run, got other files"),
        reuse_run_folder(out, frozenset({FITS, "metrics.json"})),
    ):
        pass


def test_a_lock_is_released_when_its_process_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), begin(tmp_path / "both") as folder:
        interrupt(folder, finished="1.npz")
    script = (
        "import os, pathlib, sys\nfrom foal.train.report.run_folder import create_run_folder\n"
        f"with create_run_folder(pathlib.Path(sys.argv[1]), {METADATA!r}, ours=frozenset(), resume=True):\n"
        "    os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "both")], check=False).returncode == 9
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)
    with begin(tmp_path / "both", resume=True):
        assert os.listdir(folder / FITS) == ["1.npz"]


def test_a_finished_run_is_replaced_only_with_force(tmp_path: Path) -> None:
    out = tmp_path / "both"
    with begin(out) as folder:
        write(folder, "first")
    with pytest.raises(FoalError, match="a finished run exists; show it with --resume, or replace it with --force"):
        begin(out).__enter__()
    assert text_in(out) == "first"


def test_files_that_dvc_keeps_of_a_run_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    for name in (".gitignore", "run.log"):
        (tmp_path / "both" / name).write_text("")
    with begin(tmp_path / "both") as folder:
        write(folder, "new")
    assert text_in(tmp_path / "both") == "new"
