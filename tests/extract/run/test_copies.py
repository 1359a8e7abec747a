"""A corpus that was copied, edited or renamed: what is extracted again, and what `foal index` says about it."""

import os
import shutil
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from foal.shared.files.media_state import MEDIA_TIMES
from foal.shared.hdf5.seal import write_seal
from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
OPTIONS = ["-m", "m.csv", "--streams", "audio"]
NAMES = ["Zoë/1.wav", "Zoë/2.wav", "3.wav"]


@pytest.fixture
def extract(foal_here: Foal, tmp_path: Path, scheduler: str) -> Callable[..., str]:
    """Three recordings, two in a folder written in NFD, and a function that extracts them and returns the output."""
    for number, name in enumerate(NAMES):
        path = tmp_path / "corpus" / unicodedata.normalize("NFD", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.sin(np.arange(8000) / (7 + number)) / 3, 16000)
        os.utime(path, (1000 + number, 1000 + number))
    rows = [Utterance(id=f"é{number}", corpus="c", audio=name) for number, name in enumerate(NAMES)]
    write_manifest(tmp_path / "m.csv", rows)

    def run(*options: str, root: str = "corpus") -> str:
        done = foal_here("extract", "-s", "all", "-r", root, *OPTIONS, "--scheduler", scheduler, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "0 of 3 utterances already extracted" in run()
    return run


def test_a_copied_corpus_is_read_once_and_nothing_is_extracted(
    extract: Callable[..., str], foal_here: Foal, tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "corpus", tmp_path / "copy", copy_function=shutil.copy)
    first = extract(root="copy")
    assert "3 of 3 utterances already extracted" in first
    assert "compared the content of 3 media files" in first
    assert len((tmp_path / "features" / MEDIA_TIMES).read_text().splitlines()) == 4
    second = extract(root="copy")
    assert "3 of 3 utterances already extracted" in second
    assert "compared" not in second, "the new times are remembered"
    lines = foal_here("index", "-r", "copy", *OPTIONS).stdout.splitlines()
    (accepted,) = (line for line in lines if line.startswith("accepted: "))
    assert "time only: 3 utterances (é0, é1, é2); " in accepted
    assert not any(line.startswith("stale") for line in lines)
    verified = foal_here("verify", "features")
    assert verified.returncode == 0, verified.stdout


def test_changed_files_are_extracted_again_and_named_with_the_reason(
    extract: Callable[..., str], foal_here: Foal, tmp_path: Path
) -> None:
    nfd = unicodedata.normalize("NFD", "Zoë")
    soundfile.write(tmp_path / "corpus" / nfd / "1.wav", np.zeros(8000), 16000)
    soundfile.write(tmp_path / "corpus" / nfd / "2.wav", np.zeros(9000), 16000)
    lines = foal_here("index", "-r", "corpus", *OPTIONS).stdout.splitlines()
    stale = [line.partition(": ")[2].partition(": ")[2] for line in lines if line.startswith("stale: ")]
    assert stale == [
        "2 of 3 rows are no longer current",
        "media changed: content: 1 utterance (é0); `foal extract` extracts them again",
        "media changed: size: 1 utterance (é1); `foal extract` extracts them again",
    ]
    assert "1 of 3 utterances already extracted" in extract()
    lines = foal_here("index", "-r", "corpus", *OPTIONS).stdout.splitlines()
    assert any("superseded by a newer shard: 2 utterances" in line for line in lines)


def test_shards_without_content_hashes_stay_valid_until_a_time_changes(
    extract: Callable[..., str], foal_here: Foal, tmp_path: Path
) -> None:
    for shard in (tmp_path / "features").rglob("*.h5"):
        with h5py.File(shard, "r+") as file:
            assert len(file["media_content"]) == 3
            del file["media_content"]
        write_seal(shard)
    assert "3 of 3 utterances already extracted" in extract()
    os.utime(tmp_path / "corpus" / "3.wav", (7, 7))
    output = foal_here("index", "-r", "corpus", *OPTIONS).stdout
    assert "media changed: time: 1 utterance (é2); their shards have no content hash" in output
    assert "2 of 3 utterances already extracted" in extract()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_manifest_and_shards_may_have_different_unicode_forms(
    extract: Callable[..., str], foal_here: Foal, tmp_path: Path, form: str
) -> None:
    text = unicodedata.normalize(form, (tmp_path / "m.csv").read_text(encoding="utf-8"))  # type: ignore[arg-type]
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    (tmp_path / "corpus" / unicodedata.normalize("NFD", "Zoë")).rename(tmp_path / "corpus" / "Zoë")
    assert "3 of 3 utterances already extracted" in extract()
    shutil.rmtree(tmp_path / "features")
    assert "0 of 3 utterances already extracted" in extract()
