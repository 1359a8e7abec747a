"""The DVC pipeline: it runs what has changed, on two kinds of corpus."""

import json
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from configparser import ConfigParser
from pathlib import Path

import pytest

from foal.shared.config.loading import parse_yaml
from foal.shared.files.lock import LOCK_NAME
from foal.shared.files.media_state import MEDIA_TIMES
from foal.tests.dvc_repro import stages_run

ROOT = Path(__file__).parent.parent
PACKAGES = ("shared", "manifests", "extract", "train", "predict")
SETTINGS = """
corpus: {{kind: synthetic, root: {root}, manifest: manifests/corpus.csv}}
synth: {{utterances: 20, seed: 7}}
extract: {{chunk_seconds: 20, face: {{fps: 2}}}}
train: {{epochs: 2, width: 32, bootstrap: 50}}
"""
STAGES = ["code", "corpus", "manifest", "extract", "index", "train"]


def test_the_pipeline_persists_shards_and_does_not_track_the_corpus() -> None:
    stages = parse_yaml((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == STAGES
    assert stages["extract"]["outs"] == [{"${extract.features_dir}": {"persist": True}}]
    assert stages["corpus"]["outs"] == ["corpus.json"]
    assert stages["extract"]["cmd"] == "foal extract --split all --no-index || test $? -eq 3"
    assert "corpus.root" not in json.dumps([stage.get("outs") for stage in stages.values()])
    # Written to the features folder by other stages, or during a run.
    assert {LOCK_NAME, MEDIA_TIMES} <= set((ROOT / ".dvcignore").read_text().split())


@pytest.fixture
def cremad_corpus(tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    """Seven actors with three clips each, in the layout of CREMA-D: there are no sessions."""
    root = tmp_path / "cremad"
    (root / "VideoFlash").mkdir(parents=True)
    for actor in range(1001, 1008):
        for frames, emotion in ((6, "ANG"), (8, "HAP"), (10, "SAD")):
            make_video(root / "VideoFlash" / f"{actor}_DFA_{emotion}_XX.mp4", frames=frames, audio_hz=16000)
    return root


@pytest.mark.slow
def test_dvc_repro_runs_what_has_changed(
    tmp_path: Path, synthetic_corpus: Path, cremad_corpus: Path, scheduler: str
) -> None:
    """In a copy of foal's sources, with the real commands on PATH and two kinds of corpus, one after the other."""
    synthetic = shutil.copytree(synthetic_corpus, tmp_path / "synthetic")
    clone = tmp_path / "clone"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__", "*.csv"))
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config"):
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    params = parse_yaml((ROOT / "params.yaml").read_text())
    for section, changes in parse_yaml(SETTINGS.format(root=synthetic)).items():
        params[section] |= changes

    def repro() -> list[str]:
        """The stages that have run."""
        (clone / "params.yaml").write_text(json.dumps(params))
        return stages_run(clone)

    def metrics() -> dict[str, float]:
        values: dict[str, float] = json.loads((clone / "runs" / "main" / "metrics.json").read_text())
        return values

    def splits() -> set[str]:
        return {path.name for path in (clone / "features").iterdir() if path.is_dir()}

    subprocess.run(["git", "init", "-q"], cwd=clone, check=True)
    params["cluster"]["scheduler"] = scheduler
    assert repro() == STAGES
    assert metrics()["ua_mean"] >= 0
    assert metrics()["n"] == 20
    sessions = {f"session{n}" for n in range(1, 6)}
    assert splits() == sessions

    # Changes to cluster settings, or after which the index was written again, rerun no stage. The commands belong
    # to this checkout: a changed file of the copy changes no hash.
    params["cluster"]["workers"] = 2
    (clone / "features" / MEDIA_TIMES).write_text("media,fingerprint,content\n")
    with (clone / "extract" / "cli.py").open("a") as file:
        file.write("# A comment.\n")
    assert repro() == ["code"]

    # Another corpus, which has no sessions and no transcripts.
    params["corpus"] |= {"kind": "cremad", "root": str(cremad_corpus)}
    params["extract"]["face"]["region"] = "frame"
    params["extract"]["streams"] = ["audio", "face"]
    assert repro() == STAGES[1:]
    assert metrics()["n"] == 21
    assert splits() == {*sessions, "crema-d"}


def test_dvc_sends_no_analytics() -> None:
    config = ConfigParser()
    config.read_string(textwrap.dedent((ROOT / ".dvc" / "config").read_text()))
    assert config["core"]["analytics"] == "false"
