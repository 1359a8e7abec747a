"""Options of the extraction commands: invalid combinations are refused early, and --json prints one line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def arrays(tmp_path: Path, sample_utterances: list[Utterance]) -> Path:
    """A manifest m.csv, and a folder audio/ with one vector per utterance."""
    write_manifest(tmp_path / "m.csv", sample_utterances)
    (tmp_path / "audio").mkdir()
    for utterance in sample_utterances:
        np.save(tmp_path / "audio" / f"{utterance.id}.npy", np.ones((1, 6), np.float32))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected one or several of --audio PATH"),
        (["--face", "m.csv"], "--face: expected a folder"),
        (["--audio", "audio", "--face-rate", "3"], "--face-rate: expected --face PATH as well"),
        (["--audio", "audio", "--audio-rate", "0"], "--audio-rate: expected frames per second above 0, got 0"),
        (["--audio", "audio", "--audio-rate", "nan"], "got nan"),
        (["--audio", "audio", "--name", "a/b"], "--name: expected a name such as clip"),
        (
            ["--audio", "audio", "--face", "audio", "--name", "clip"],
            "--name: expected one modality, got audio and",
        ),
        (["--audio", "audio", "-o", "m.csv"], "--out: expected a folder"),
        (["--audio", "audio", "--dtype", "float8"], "float8"),
    ],
)
def test_invalid_combinations_of_import_options_are_refused(
    foal_here: Foal, arrays: Path, options: list[str], message: str
) -> None:
    out = [] if "-o" in options else ["-o", "out"]
    done = foal_here("import", "--manifest", "m.csv", *out, *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (arrays / "out").exists()


def test_inspect_prints_json_last_and_replaces_a_table_only_with_force(foal_here: Foal, arrays: Path) -> None:
    done = foal_here("import", "--manifest", "m.csv", "--audio", "audio", "-o", "out")
    assert done.returncode == 0, done.stderr
    (arrays / "notes.csv").write_text("my notes")
    done = foal_here("inspect", "out/feats.h5", "--csv", "notes.csv")
    assert done.returncode == 2
    assert (arrays / "notes.csv").read_text() == "my notes"
    done = foal_here("inspect", "out/feats.h5", "--csv", "notes.csv", "--force", "--json")
    assert done.returncode == 0, done.stderr
    assert (arrays / "notes.csv").read_text().startswith("id,")
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["utterances"] == 18
    assert list(result["streams"]) == ["audio"]


def test_an_unknown_or_missing_session_is_a_usage_error(foal_here: Foal, arrays: Path) -> None:
    done = foal_here("extract", "--split", "session9", "-m", "m.csv", "-r", ".")
    assert done.returncode == 2
    assert "session9" in done.stderr
    done = foal_here("extract", "-m", "m.csv", "-r", ".")
    assert done.returncode == 2
    assert "--split" in done.stderr
    assert not (arrays / "features").exists()
