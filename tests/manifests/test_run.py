"""`foal synth`, `foal corpus` and `foal manifest` as commands."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from foal.shared.manifest import read_manifest

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


def test_manifest_prints_its_table_and_the_verdict(foal: Foal, synthetic_corpus: Path, tmp_path: Path) -> None:
    done = foal("manifest", "iemocap", synthetic_corpus, "-o", "m.csv")
    assert done.returncode == 0
    assert "NOT equal to the published counts" in done.stdout
    assert "session5" in done.stdout
    assert len(read_manifest(tmp_path / "m.csv")) == 20


def test_classes_choose_the_labels(foal_here: Foal, synthetic_corpus: Path, tmp_path: Path) -> None:
    assert foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv", "--classes", "sad,ang").returncode == 0
    assert {utterance.label for utterance in read_manifest(tmp_path / "m.csv")} == {"sad", "ang"}
    done = foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv", "--classes", "sad,glee")
    assert done.returncode == 2
    assert "unknown label 'glee'" in done.stderr
    assert len(read_manifest(tmp_path / "m.csv")) == 10


def test_corpus_draws_once_and_never_touches_what_it_did_not_draw(foal_here: Foal, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("corpus: {root: drawn}\nsynth: {utterances: 20}\n")
    assert foal_here("corpus").returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "drawn").rglob("*")}
    assert "already drawn" in foal_here("corpus").stdout
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "drawn").rglob("*")}
    assert json.loads((tmp_path / "corpus.json").read_text())["kind"] == "synthetic"

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = foal_here("corpus", "--root", "mine")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_licensed_corpus_must_be_there(foal: Foal) -> None:
    done = foal("corpus", "--kind", "iemocap", "--root", "nowhere")
    assert done.returncode == 2
    assert "expected the iemocap corpus here" in done.stderr


@pytest.mark.parametrize(
    "content", ["years of work", "", "[]", '{"kind": "folder"}', '{"kind": "", "root": "", "x": 1}']
)
def test_a_record_takes_no_other_files_place(foal_here: Foal, tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text("corpus: {root: drawn}\nsynth: {utterances: 20}\n")
    (tmp_path / "thesis.txt").write_text(content)
    done = foal_here("corpus", "--record", "thesis.txt")
    assert done.returncode == 2
    assert "thesis.txt: expected a record of `foal corpus` to replace" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == content
    assert not (tmp_path / "drawn").exists()  # said before hours of work


def test_a_record_takes_its_own_place_but_no_pipes(foal_here: Foal, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loose").symlink_to("nowhere")
    arguments = ("corpus", "--kind", "folder", "--root", "mine", "--record")
    for _ in range(2):
        assert foal_here(*arguments, "found.json").returncode == 0
    for name in ("pipe", "loose"):
        assert foal_here(*arguments, name).returncode == 2
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "loose").is_symlink()


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["unreadable", "only its names"])
@pytest.mark.parametrize("kind", ["folder", "cremad", "iemocap"])
def test_a_corpus_of_which_a_part_may_not_be_read_becomes_no_manifest(
    foal_as_somebody: Foal, tmp_path: Path, synthetic_corpus: Path, kind: str, mode: int
) -> None:
    if kind == "iemocap":
        shutil.copytree(synthetic_corpus, tmp_path / "c")
        locked = tmp_path / "c" / "Session2" / "dialog" / "EmoEvaluation"
    else:
        locked = tmp_path / "c" / "joy"
        for folder in (tmp_path / "c" / "fear", locked):
            folder.mkdir(parents=True)
            (folder / "1001_DFA_ANG_XX.mp4").touch()
    locked.chmod(mode)
    try:
        done = foal_as_somebody("manifest", kind, "c", "-o", "m.csv")
    finally:
        locked.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith(f"foal: {locked.relative_to(tmp_path)}")
    assert "cannot read this (Permission denied), so no manifest was written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m.csv").exists()


def test_a_corpus_whose_name_is_no_text_is_refused(foal_here: Foal, tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"c\xff")
    (root / "joy").mkdir(parents=True)
    (root / "joy" / "a.mp4").touch()
    done = foal_here("manifest", "folder", root, "-o", "m.csv")
    assert done.returncode == 1
    assert "expected a folder whose name is valid UTF-8" in done.stderr
    assert not (tmp_path / "m.csv").exists()
