"""The commands `foal synth`, `foal corpus` and `foal manifest`."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from foal.manifests.run import GENERATOR_FILE
from foal.shared.manifest import read_manifest

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


def test_manifest_prints_its_table_and_notes(foal_here: Foal, synthetic_corpus: Path, tmp_path: Path) -> None:
    done = foal_here("manifest", "iemocap", synthetic_corpus, "-o", "m.csv")
    assert done.returncode == 0
    assert "NOT equal to the published counts" in done.stdout
    assert "session5" in done.stdout
    assert len(read_manifest(tmp_path / "m.csv")) == 20


def test_classes_select_the_labels(foal_here: Foal, synthetic_corpus: Path, tmp_path: Path) -> None:
    assert foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv", "--classes", "sad,ang").returncode == 0
    assert {utterance.label for utterance in read_manifest(tmp_path / "m.csv")} == {"sad", "ang"}
    done = foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv", "--classes", "sad,glee")
    assert done.returncode == 2
    assert "unknown label 'glee'" in done.stderr
    assert len(read_manifest(tmp_path / "m.csv")) == 10


def test_corpus_generates_once_and_never_changes_foreign_folders(
    foal_here: Foal, synthetic_corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text(f"corpus: {{root: {synthetic_corpus}}}\nsynth: {{utterances: 20, seed: 7}}\n")
    assert not (synthetic_corpus / "Session9").exists()  # a corpus with other settings was replaced
    before = {path: path.stat().st_mtime_ns for path in synthetic_corpus.rglob("*")}
    assert "already generated" in foal_here("corpus").stdout
    assert before == {path: path.stat().st_mtime_ns for path in synthetic_corpus.rglob("*")}
    assert json.loads((tmp_path / "corpus.json").read_text())["kind"] == "synthetic"

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = foal_here("corpus", "--root", "mine")
    assert done.returncode == 2
    assert done.stderr.startswith("foal: mine: exists and is not an empty folder or a generated corpus")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_licensed_corpus_must_exist(foal_here: Foal) -> None:
    done = foal_here("corpus", "--kind", "iemocap", "--root", "nowhere")
    assert done.returncode == 1
    assert "expected the iemocap corpus (key corpus.root)" in done.stderr


@pytest.mark.parametrize(
    "content", ["years of work", "", "[]", '{"kind": "folder"}', '{"kind": "", "root": "", "x": 1}']
)
def test_a_record_replaces_no_foreign_file_without_force(foal_here: Foal, tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text("corpus: {root: drawn}\nsynth: {utterances: 20}\n")
    (tmp_path / "thesis.txt").write_text(content)
    done = foal_here("corpus", "--record", "thesis.txt")
    assert done.returncode == 2
    assert "thesis.txt: exists and is not a record of `foal corpus`" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == content
    assert not (tmp_path / "drawn").exists()  # refused before the corpus is generated


def test_a_record_replaces_a_record_but_no_pipe_or_link(foal_here: Foal, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["unreadable", "list-only"])
@pytest.mark.parametrize("kind", ["folder", "cremad", "iemocap"])
def test_an_unreadable_part_of_the_corpus_is_an_error_and_leaves_no_manifest(
    foal_unprivileged: Foal, tmp_path: Path, synthetic_corpus: Path, kind: str, mode: int
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
        done = foal_unprivileged("manifest", kind, "c", "-o", "m.csv")
    finally:
        locked.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith(f"foal: {locked.relative_to(tmp_path)}")
    assert "cannot be read (Permission denied); no manifest was written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m.csv").exists()


def test_a_corpus_whose_name_is_not_utf_8_is_refused(foal_here: Foal, tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"c\xff")
    (root / "joy").mkdir(parents=True)
    (root / "joy" / "a.mp4").touch()
    done = foal_here("manifest", "folder", root, "-o", "m.csv")
    assert done.returncode == 1
    assert "expected a folder whose name is valid UTF-8" in done.stderr
    assert not (tmp_path / "m.csv").exists()


def test_manifest_replaces_a_foreign_file_only_with_force(foal_here: Foal, tmp_path: Path) -> None:
    (tmp_path / "c" / "joy").mkdir(parents=True)
    (tmp_path / "c" / "joy" / "a.mp4").touch()
    (tmp_path / "thesis.txt").write_text("years of work")
    arguments = ("manifest", "folder", "c", "-o", "thesis.txt")
    done = foal_here(*arguments)
    assert done.returncode == 2
    assert "thesis.txt: exists and is not a manifest; choose another path, or replace it with --force" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert foal_here(*arguments, "--force").returncode == 0
    assert foal_here(*arguments).returncode == 0
    assert len(read_manifest(tmp_path / "thesis.txt")) == 1


def test_a_record_replaces_a_foreign_file_with_force(foal_here: Foal, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "thesis.txt").write_text("years of work")
    arguments = ("corpus", "--kind", "folder", "--root", "mine", "--record", "thesis.txt")
    assert foal_here(*arguments).returncode == 2
    assert foal_here(*arguments, "--force").returncode == 0
    assert json.loads((tmp_path / "thesis.txt").read_text()) == {"kind": "folder", "root": "mine"}


def test_synth_refuses_a_foreign_folder_and_never_replaces_the_working_folder(foal_here: Foal, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = foal_here("synth", "mine", "-n", "20")
    assert done.returncode == 2
    assert "mine: exists and is not an empty folder or a generated corpus" in done.stderr
    for folder in (".", str(tmp_path.parent)):
        done = foal_here("synth", folder, "-n", "20", "--force")
        assert done.returncode == 2
        assert "contains the working folder" in done.stderr
    assert (tmp_path / "mine" / "thesis.txt").exists()


def contents(corpus: Path) -> dict[Path, bytes]:
    return {path.relative_to(corpus): path.read_bytes() for path in corpus.rglob("*") if path.is_file()}


def test_synth_replaces_a_foreign_folder_with_force_and_the_same_seed_gives_the_same_bytes(
    foal_here: Foal, synthetic_corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert foal_here("synth", "mine", "-n", "20", "--seed", "7", "--force").returncode == 0
    assert contents(tmp_path / "mine") == contents(synthetic_corpus)
    for folder in (tmp_path / "mine", synthetic_corpus):
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # no temporary folder remains
    assert json.loads((tmp_path / "mine" / GENERATOR_FILE).read_text())["utterances"] == 20


def test_only_the_first_twenty_warnings_are_printed(foal_here: Foal, tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"clip{number}.flv").touch()
    (tmp_path / "1001_DFA_ANG_XX.flv").touch()
    done = foal_here("manifest", "cremad", ".", "-o", "m.csv")
    assert done.returncode == 0
    assert done.stdout.count("warning: clip") == 20
    assert "warning: ... and 5 more" in done.stdout


@pytest.mark.parametrize("kind", ["iemocap", "cremad", "folder", "csv"])
def test_a_kind_without_a_root_asks_for_it(foal_here: Foal, tmp_path: Path, kind: str) -> None:
    (tmp_path / "data" / "synthetic" / "joy").mkdir(parents=True)
    (tmp_path / "data" / "synthetic" / "joy" / "1001_DFA_ANG_XX.wav").touch()
    done = foal_here("manifest", kind, "-o", "m.csv")
    assert done.returncode == 2
    assert f"foal manifest {kind} {'LABELS.csv' if kind == 'csv' else 'ROOT'}" in done.stderr
    assert not (tmp_path / "m.csv").exists()


@pytest.mark.parametrize(
    "option", [("--context",), ("--labels", "x.csv"), ("--columns", "path=x"), ("--normalize-labels",)]
)
def test_an_option_that_a_corpus_does_not_read_is_refused(foal_here: Foal, option: tuple[str, ...]) -> None:
    done = foal_here("manifest", "ravdess", ".", "-o", "m.csv", *option)
    assert done.returncode == 2
    assert f"{option[0]} (key corpus." in done.stderr
    assert "not to ravdess" in done.stderr


def test_a_table_becomes_a_manifest(foal_here: Foal, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name in "abc":
        (tmp_path / "c" / f"{name}.wav").touch()
    (tmp_path / "c" / "t.csv").write_text("Clip Name;Emo\na;joy\nb;Joy\nc;fear\n")
    done = foal_here(
        "manifest", "csv", "c/t.csv", "-o", "m.csv", "--columns", "path=Clip Name,label=Emo", "--normalize-labels"
    )
    assert done.returncode == 0, done.stderr
    assert "columns separated by semicolons" in done.stdout
    assert {u.id: (u.label, u.corpus) for u in read_manifest(tmp_path / "m.csv")} == {
        "a": ("Joy", "c"),
        "b": ("Joy", "c"),
        "c": ("fear", "c"),
    }


def test_context_keeps_all_turns_of_the_synthetic_corpus(
    foal_here: Foal, synthetic_corpus: Path, tmp_path: Path
) -> None:
    done = foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv", "--classes", "sad,ang", "--context")
    assert done.returncode == 0
    rows = read_manifest(tmp_path / "m.csv")
    assert len([row for row in rows if row.label]) == 10
    assert len(rows) >= 20
    assert all(row.dialog and row.turn is not None and row.scene for row in rows)
