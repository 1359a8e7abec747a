"""The dry run: estimated size and time of the remaining extraction."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from foal.shared.manifest import read_manifest

Foal = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_dry_run_estimates_sizes_and_times_and_writes_nothing(
    foal_here: Foal, tmp_path: Path, synthetic_corpus: Path
) -> None:
    assert foal_here("manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    options = ["-s", "session1", "-m", "m.csv", "-r", synthetic_corpus, "--set", "cluster.threads=1"]
    done = foal_here("extract", *options, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert "left to extract" in done.stdout
    assert f" {sum(u.session == 'session1' for u in read_manifest(tmp_path / 'm.csv'))} " in done.stdout
    assert "workers" in done.stdout
    assert "unknown" not in done.stdout
    assert not (tmp_path / "features").exists()
    assert not (tmp_path / "feats.h5").exists()
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["dry_run"]
    assert (result["pending"], result["extracted"], result["index"]) == (result["utterances"], 0, None)
