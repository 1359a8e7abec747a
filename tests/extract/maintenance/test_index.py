"""`foal index` selects the shards of each stream, and reports stale ones."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from foal.extract.maintenance.index import format_stream_config
from foal.extract.schedule.stream_spec import build_stream_spec
from foal.shared.config.settings import ExtractSettings
from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.shard import ShardHeader
from foal.shared.utterance import Utterance

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
MakeFeatures = Callable[..., Path]
HashOf = Callable[..., str]
WriteParams = Callable[..., None]
CLIP = {"face/clip": {"region": "frame"}}
OLD = "0" * 64


def old_shards(project: Path, modality: str = "*") -> set[Path]:
    return set(project.glob(f"features/*/{modality}-00000000/*.h5"))


def test_configurations_and_stale_files_are_reported(
    foal: Foal, project: Path, sample_utterances: list[Utterance], hash_of: HashOf
) -> None:
    (project / "0.wav").write_text("another sound")
    write_manifest(project / "m.csv", sample_utterances[:-1])
    done = foal("index")
    assert done.returncode == 0, done.stderr
    audio, face = hash_of("audio")[:8], hash_of("face")[:8]
    lines = done.stdout.splitlines()
    assert f"audio: random:test -> audio-{audio}" in lines
    assert f"face: random:test -> face-{face}" in lines
    assert any(
        line.startswith("not in the index: audio-00000000: 3 shards of another configuration, ")
        and line.endswith(" (width 8, in use 4)")
        for line in lines
    )
    absent = f"not in the manifest: 1 utterance ({sample_utterances[-1].id}); check that m.csv is the right manifest"
    changed = f"media changed: size: 1 utterance ({sample_utterances[0].id}); `foal extract` extracts them again"
    assert [line for line in lines if line.startswith("stale: ")] == [
        f"stale: audio-{audio}: 2 of 18 rows are no longer current",
        f"stale: audio-{audio}: {changed}",
        f"stale: audio-{audio}: {absent}",
        f"stale: face-{face}: 1 of 18 rows are no longer current",
        f"stale: face-{face}: {absent}",
    ]
    assert any("foal clean" in line for line in lines)


def test_several_streams_of_a_modality_are_indexed(
    foal_here: Foal,
    project: Path,
    make_features: MakeFeatures,
    sample_utterances: list[Utterance],
    write_params: WriteParams,
    hash_of: HashOf,
) -> None:
    write_params(streams=["audio", "face", "face/clip"], encoders=CLIP)
    done = foal_here("index")
    assert done.returncode == 2
    assert "there are no shards of face/clip with the current settings" in done.stderr
    assert "foal extract --streams face/clip" in done.stderr
    clip = hash_of("face/clip", encoders=CLIP)
    make_features(project / "features", sample_utterances, widths={"face": 7}, key=clip)
    assert foal_here("index").returncode == 0
    with FeatureStore(project / "feats.h5") as store:
        assert {name: stream.config_hash for name, stream in store.streams.items()} == {
            "audio": hash_of("audio"),
            "face": hash_of("face"),
            "face/clip": clip,
        }


def test_given_config_hashes_are_used(foal_here: Foal, project: Path, hash_of: HashOf) -> None:
    done = foal_here("index", "--streams", "face", "--config-hash", "face/other=00000000")
    assert done.returncode == 0, done.stderr
    with FeatureStore(project / "feats.h5") as store:
        assert {name: stream.config_hash for name, stream in store.streams.items()} == {
            "face": hash_of("face"),
            "face/other": OLD,
        }
    for invalid in ("smell=00000000", "face/=00000000", "face/a/b=00000000", "face", "face="):
        done = foal_here("index", "--config-hash", invalid)
        assert done.returncode == 2
        assert "expected STREAM=HASH" in done.stderr


def test_an_ambiguous_configuration_is_an_error(
    foal_here: Foal, project: Path, write_params: WriteParams, hash_of: HashOf
) -> None:
    write_params(streams=["face/x"], encoders={"face/x": {"encoder": "nowhere.pt"}})
    done = foal_here("index")
    assert done.returncode == 2
    assert "choose one with --config-hash face/x=HASH" in done.stderr
    # With a single configuration, no weights are needed.
    for path in old_shards(project, "face"):
        path.unlink()
    done = foal_here("index")
    assert done.returncode == 0, done.stderr
    assert f"face/x: random:test -> face-{hash_of('face')[:8]}" in done.stdout
    done = foal_here("index", "--features-dir", "nowhere", "--config-hash", "face/x=00000000")
    assert done.returncode == 2
    assert "there are no face shards in nowhere" in done.stderr


@pytest.mark.parametrize(
    ("stream", "settings", "line"),
    [
        ("audio", {}, "random:tiny (seed 2024), layers last, fp32"),
        (
            "audio",
            {"audio": {"layers": [0, 2], "max_seconds": 20}, "dtype": "float32", "precision": "bf16"},
            "random:tiny (seed 2024), layers 0,2, max seconds 20.0, bf16, stored as float32",
        ),
        ("face", {"face": {"margin": 0.3}}, "random:tiny (seed 2024), region face, 10 Hz, margin 0.3, fp32"),
        ("face/clip", {"encoders": CLIP}, "random:tiny (seed 2024), region frame, 10 Hz, fp32"),
    ],
    ids=["default", "changed", "face", "frame"],
)
def test_a_stream_config_is_formatted_in_one_line(stream: str, settings: dict[str, object], line: str) -> None:
    assert format_stream_config(build_stream_spec(ExtractSettings.model_validate(settings), stream).header) == line


def test_the_config_of_imported_features_is_formatted() -> None:
    header = ShardHeader(
        modality="face",
        config_hash=OLD,
        rate_hz=30.0,
        encoder="imported",
        revision="",
        weights="",
        random_weights=False,
        config={"provenance": "imported", "width": 512, "name": "openface", "dtype": "float16"},
    )
    assert format_stream_config(header) == "imported, named openface, 30 Hz"


def test_another_file_is_replaced_only_with_force(foal_here: Foal, project: Path) -> None:
    (project / "notes.h5").write_text("my notes")
    done = foal_here("index", "-o", "notes.h5", "--config-hash", f"audio={OLD}", "--config-hash", f"face={OLD}")
    assert done.returncode == 2
    assert "notes.h5: exists and is not a feats.h5" in done.stderr
    assert "--force" in done.stderr
    assert (project / "notes.h5").read_text() == "my notes"
    assert foal_here("index", "-o", "notes.h5", "--force").returncode == 0
    with FeatureStore(project / "notes.h5") as store:
        assert len(store) == 18
