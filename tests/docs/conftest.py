"""The folder in which the documentation's examples run, with a manifest, features, an index, a run and a study."""

import csv
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.shared.utterance import COLUMNS

UTTERANCES = 24


def _write_rows(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def example_folder(
    made_once: Callable[[str, Callable[[Path], None]], Path],
    foal_in: Callable[..., subprocess.CompletedProcess[str]],
    synthetic_corpus: Path,
) -> Path:
    """A run on 24 utterances of two classes in three sessions; read only, shared by all processes.

    clips.csv and clips/ are a corpus with media.
    """

    def make(folder: Path) -> None:
        _make_examples(folder, foal_in, synthetic_corpus)

    return made_once("examples", make)


def _make_examples(
    folder: Path, foal_in: Callable[..., subprocess.CompletedProcess[str]], synthetic_corpus: Path
) -> None:
    """Create it with the commands."""
    rows = [
        {
            "id": f"u{number}",
            "corpus": "test",
            "session": f"session{number % 3 + 1}",
            "speaker": f"s{number % 6}",
            "label": ("hap", "sad")[number // 3 % 2],
            "audio": f"{number}.wav",
            "video": f"{number}.mp4",
            "crop": "full",
            "end": "1.0",
            "scene": f"impro0{number % 2 + 1}",
        }
        for number in range(UTTERANCES)
    ]
    _write_rows(folder / "manifest.csv", list(COLUMNS), rows)
    rng = np.random.default_rng(0)
    length_rng = random.Random(0)
    for modality, width, rate in (("audio", 8, 50), ("face", 6, 10)):
        (folder / modality).mkdir()
        for row in rows:
            frames = rng.normal(size=(rate - length_rng.randint(0, 3), width))
            np.save(folder / modality / f"{row['id']}.npy", frames.astype(np.float32))
    (folder / "clips").symlink_to(synthetic_corpus)
    commands = (
        "manifest synthetic clips -o clips.csv",
        "import --manifest manifest.csv --audio audio --face face --audio-rate 50 --face-rate 10 -o features",
        "index --manifest manifest.csv --features-dir features -o feats.h5",
        "train --features feats.h5 --out runs/main --epochs 2 --width 16 --set train.bootstrap=20",
        "tune --features feats.h5 --out runs/tune --trials 2 --epochs 1 --workers 1 --set train.bootstrap=20",
    )
    for command in commands:
        result = foal_in(folder, *command.split())
        assert result.returncode == 0, f"{command}: {result.stderr}"
    failure = {"id": "u99", "split": "session1", "stream": "face", "reason": "cannot be decoded"}
    columns = ["id", "split", "stream", "media", "reason", "remedy", "state"]
    _write_rows(folder / "features/session1/failures.csv", columns, [failure])
