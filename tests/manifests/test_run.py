"""`foal synth`, `foal corpus` and `foal manifest` as commands."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from foal.shared.utterance import read_manifest

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
