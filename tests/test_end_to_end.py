"""The whole way through the commands: corpus, manifest, extraction, index, training; and the pipeline's shape."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_from_a_corpus_to_results(foal: Foal, synthetic_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(
        f"corpus: {{kind: synthetic, root: {synthetic_corpus}, manifest: m.csv}}\n"
        "extract: {chunk_seconds: 20}\ntrain: {epochs: 3, width: 32, bootstrap: 50}\n"
    )
    for command in (["manifest"], ["extract", "--split", "all"], ["verify"], ["inspect", "feats.h5"]):
        done = foal(*command)
        assert done.returncode == 0, done.stderr
    assert "random weights" in done.stdout
    assert "20 utterances" in done.stdout

    for modalities in ("both", "audio", "face"):
        done = foal("train", "--features", "feats.h5", "--modalities", modalities)
        assert done.returncode == 0, done.stderr
        assert "random weights" in done.stdout
        assert f"results: runs/{modalities}" in done.stdout
        run = tmp_path / "runs" / modalities
        metrics = json.loads((run / "metrics.json").read_text())
        assert 0 <= metrics["ua_mean"] <= 1
        assert [fold["test"] for fold in metrics["folds"]] == [f"session{n}" for n in range(1, 6)]
        with (run / "predictions.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len({row["id"] for row in rows}) == 20
        for row in rows:
            assert abs(sum(float(row[f"p_{label}"]) for label in metrics["classes"]) - 1) < 1e-3
        assert len(list(run.glob("models/*/model.safetensors"))) == 5
        for picture in ("confusion.png", "learning.png"):
            assert (run / picture).read_bytes().startswith(b"\x89PNG")
    assert "results: runs/face" in foal("results", "runs/face").stdout

    packed = foal("index", "--pack", "-o", "elsewhere/packed.h5")
    assert packed.returncode == 0, packed.stderr
    done = foal("train", "--features", "elsewhere/packed.h5", "--out", "runs/packed")
    assert done.returncode == 0, done.stderr
    one, other = (json.loads((tmp_path / "runs" / name / "metrics.json").read_text()) for name in ("both", "packed"))
    assert one == other

    next((tmp_path / "features").rglob("audio-*/*.h5")).unlink()
    done = foal("train", "--features", "feats.h5", "--out", "runs/broken")
    assert done.returncode == 1
    assert "the shard is gone" in done.stderr
    assert not (tmp_path / "runs" / "broken").exists()
    assert foal("verify").returncode == 1


def test_the_pipeline_keeps_its_shards_and_never_owns_the_corpus() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == ["corpus", "manifest", "extract", "index", "train"]
    assert stages["extract"]["foreach"] == [f"session{n}" for n in range(1, 6)]
    assert stages["extract"]["do"]["outs"] == [{"${extract.features_dir}/${item}": {"persist": True}}]
    assert stages["corpus"]["outs"] == ["corpus.json"]
    assert stages["extract"]["do"]["cmd"].endswith("|| test $? -eq 3")
    assert "corpus.root" not in json.dumps([stage.get("outs") for stage in stages.values()])


@pytest.mark.slow
def test_dvc_reads_the_pipeline(tmp_path: Path) -> None:
    for name in ("dvc.yaml", "params.yaml", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    done = subprocess.run(
        [*dvc, "stage", "list", "--name-only"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        "corpus",
        "manifest",
        *(f"extract@session{n}" for n in range(1, 6)),
        "index",
        "train",
    ]
    analytics = subprocess.run(
        [*dvc, "config", "core.analytics"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert analytics.stdout.strip() == "false"
