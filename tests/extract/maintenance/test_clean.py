"""`foal clean`, and what `foal index` says, on real shards."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from foal.extract.maintenance.clean import remove_files
from foal.extract.maintenance.index import describe
from foal.extract.maintenance.stale import find_stale
from foal.extract.schedule.stream_spec import present_key, recipe
from foal.shared.config.settings import ExtractSettings
from foal.shared.files.fingerprint import media_fingerprint
from foal.shared.hdf5.checked_reader import write_strings
from foal.shared.hdf5.seal import write_seal
from foal.shared.manifest import write_manifest
from foal.shared.store.catalog import MediaFingerprints
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.shard import ShardHeader
from foal.shared.utterance import Utterance

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
MakeFeatures = Callable[..., Path]
CLIP = {"face/clip": {"view": "frame"}}
OLD = "0" * 64


def key_of(stream: str, **settings: object) -> str:
    return present_key(ExtractSettings.model_validate(settings), stream)


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


def write_params(folder: Path, **extract: object) -> None:
    (folder / "params.yaml").write_text(
        yaml.safe_dump({"corpus": {"manifest": "m.csv", "root": "."}, "extract": extract})
    )


@pytest.fixture
def project(tmp_path: Path, make_features: MakeFeatures, some_utterances: list[Utterance]) -> Path:
    """A folder with manifest and settings, shards of the present settings, shards of others, and no index."""
    write_manifest(tmp_path / "m.csv", some_utterances)
    write_params(tmp_path)
    for modality in ("audio", "face"):
        make_features(tmp_path / "features", some_utterances, widths={modality: 4}, key=key_of(modality))
    make_features(tmp_path / "features", some_utterances, key=OLD)
    return tmp_path


def old_shards(project: Path, modality: str = "*") -> set[Path]:
    return set(project.glob(f"features/*/{modality}-00000000/*.h5"))


def mark_imported(paths: Iterable[Path]) -> None:
    for path in paths:
        with h5py.File(path, "r+") as file:
            file.attrs["config"] = np.bytes_('{"provenance": "imported"}')
        write_seal(path)


def test_clean_lists_and_removes_only_when_told(foal: Foal, foal_here: Foal, project: Path) -> None:
    (project / "features" / "session2" / "face-00000000" / "notes.txt").write_text("mine")
    before, old = files_below(project), old_shards(project)
    done = foal_here("clean")
    assert done.returncode == 0, done.stderr
    assert "another configuration" in done.stdout
    assert "session3/audio-00000000" in done.stdout
    assert "nothing was removed" in done.stdout
    assert files_below(project) == before

    done = foal("clean", "--remove")
    assert done.returncode == 0, done.stderr
    assert "removed 6 of 6 files" in done.stdout
    assert files_below(project) == before - old
    assert [path.parent.name for path in project.glob("features/*/*-00000000")] == ["session2"]

    done = foal_here("clean", "--remove")
    assert done.returncode == 0
    assert "nothing to remove" in done.stdout
    assert files_below(project) == before - old


def test_what_an_index_points_to_stays_until_it_is_made_anew(foal_here: Foal, project: Path) -> None:
    old = f"audio={OLD}", f"face={OLD}"
    assert foal_here("index", "--config-hash", old[0], "--config-hash", old[1]).returncode == 0
    before = files_below(project)
    for options in ([], ["--features", "features"]):
        done = foal_here("clean", "--remove", *options)
        assert done.returncode == 0, done.stderr
        assert "still in feats.h5: run `foal index` first" in done.stdout
        assert files_below(project) == before
    assert foal_here("index").returncode == 0
    assert foal_here("index", "--config-hash", old[0], "--streams", "audio", "-o", "features/feats.h5").returncode == 0
    done = foal_here("clean", "--remove")
    assert "still in features/feats.h5" in done.stdout
    assert old_shards(project, "audio")
    assert not old_shards(project, "face")
    with FeatureStore(project / "feats.h5") as store, FeatureStore(project / "features" / "feats.h5") as other:
        assert len(store.packed("face").offsets) == len(other.packed("audio").offsets) == 19


def test_an_index_that_cannot_be_read_stops_it(foal_here: Foal, project: Path) -> None:
    (project / "feats.h5").write_text("torn")
    before = files_below(project)
    done = foal_here("clean", "--remove")
    assert done.returncode == 1
    assert "which shards feats.h5 needs is not known" in done.stderr
    assert files_below(project) == before


def test_where_the_weights_are_not_found_the_modality_is_left_alone(foal_here: Foal, project: Path) -> None:
    write_params(project, streams={"face/clip": {"encoder": "nowhere.pt"}})
    done = foal_here("clean", "--remove")
    assert done.returncode == 0, done.stderr
    assert "the key of face/clip needs its weights" in done.stdout
    assert "nowhere.pt" in done.stdout
    assert old_shards(project, "face")
    assert not old_shards(project, "audio")


def test_every_stream_of_the_settings_is_in_use(
    foal_here: Foal, project: Path, make_features: MakeFeatures, some_utterances: list[Utterance]
) -> None:
    make_features(project / "features", some_utterances, widths={"face": 4}, key=key_of("face/clip", encoders=CLIP))
    write_params(project, streams=["audio"], encoders=CLIP)
    done = foal_here("clean")
    # Of face only the one stream is set: its base is in use no more.
    assert f"face-{key_of('face')[:8]}" in done.stdout
    assert f"face-{key_of('face/clip', encoders=CLIP)[:8]}" not in done.stdout
    write_params(project, streams=["audio"])
    done = foal_here("clean")
    assert f"face-{key_of('face')[:8]}" not in done.stdout
    assert f"face-{key_of('face/clip', encoders=CLIP)[:8]}" in done.stdout


def test_keys_to_keep(foal_here: Foal, project: Path) -> None:
    for wrong, words in (("0000", "at least 8"), ("face-1234567z", "hexadecimal"), ("f" * 64, "no shards of key")):
        done = foal_here("clean", "--remove", "--keep-config", wrong)
        assert done.returncode == 2
        assert words in done.stderr
    before = files_below(project)
    for right in ("00000000", OLD, "audio-00000000"):
        done = foal_here("clean", "--remove", "--keep-config", right)
        assert done.returncode == 0, done.stderr
        assert files_below(project) == before


def test_imported_features_go_only_when_asked(foal_here: Foal, project: Path) -> None:
    mark_imported(old_shards(project, "face"))
    done = foal_here("clean", "--remove")
    assert "--imported" in done.stdout
    assert old_shards(project, "face")
    assert not old_shards(project, "audio")
    assert foal_here("clean", "--remove", "--imported").returncode == 0
    assert not old_shards(project)


@pytest.mark.parametrize("fingerprint", ["stat", "content"])
def test_superseded_shards_go(
    foal_here: Foal, project: Path, some_utterances: list[Utterance], fingerprint: str
) -> None:
    write_params(project, fingerprint=fingerprint)
    (shard,) = project.glob(f"features/session1/audio-{key_of('audio')[:8]}/*.h5")
    for utterance in some_utterances:
        (project / utterance.audio).write_text("sound")
    for path in project.glob(f"features/*/audio-{key_of('audio')[:8]}/*.h5"):
        with h5py.File(path, "r+") as file:
            names = list(file["ids"].asstr())
            del file["media"]
            files = [project / f"{name[1:]}.wav" for name in names]
            write_strings(file, media=[media_fingerprint(path, content=fingerprint == "content") for path in files])
        write_seal(path)
    assert foal_here("clean", "--remove", "--keep-config", OLD).stdout.count("superseded") == 0
    assert shard.exists()
    for utterance in some_utterances:
        if utterance.split == "session1":
            (project / utterance.audio).write_text("another sound")
    before = files_below(project)
    done = foal_here("clean", "--remove", "--keep-config", OLD)
    assert "superseded" in done.stdout
    assert files_below(project) == before - {shard}


def test_nothing_is_removed_through_a_link(foal_here: Foal, project: Path) -> None:
    features, outside = project / "features", project / "outside"
    (features / "session1").rename(outside)
    (features / "session1").symlink_to(outside)
    linked = features / "session2" / "face-00000000" / "shard.h5"
    linked.rename(project / "elsewhere.h5")
    linked.symlink_to(project / "elsewhere.h5")
    # A second name for session3, whose current shards are those of no split of the manifest under this name.
    (features / "session4").symlink_to(features / "session3")
    before = files_below(project) | files_below(outside) | files_below(features / "session3")
    gone = set(features.glob("session[23]/*-00000000/*.h5")) - {linked}
    done = foal_here("clean", "--remove")
    assert done.returncode == 0, done.stderr
    assert "a symbolic link, or behind one" in done.stdout
    assert f"removed {len(gone)} of {len(gone)} files" in done.stdout
    assert files_below(project) | files_below(outside) | files_below(features / "session3") == before - gone


def test_a_features_folder_that_is_a_link_is_cleaned(foal_here: Foal, project: Path) -> None:
    (project / "features").rename(project / "disk")
    (project / "features").symlink_to(project / "disk")
    assert "removed 6 of 6 files" in foal_here("clean", "--remove").stdout
    assert not old_shards(project)


def test_the_next_run_removes_what_a_killed_one_left_of_the_index(foal_here: Foal, project: Path) -> None:
    killed = f".tmp-{socket.gethostname()}~{2**22 + 1}"
    for name in ("feats.h5", "other.h5"):
        (project / f"{killed}~{name}").write_text("half of an index")
    assert foal_here("extract", "--split", "all").returncode == 0
    assert [path.name for path in project.glob(".tmp-*")] == [f"{killed}~other.h5"]


def test_a_shard_written_anew_meanwhile_stays(project: Path, some_utterances: list[Utterance]) -> None:
    features = project / "features"
    keys = {modality: key_of(modality) for modality in ("audio", "face")}
    stale = find_stale(features, some_utterances, keys, MediaFingerprints(project)).stale
    os.utime(stale[0].path, ns=(1, 1))
    assert remove_files(features, stale)[0] == 5
    assert old_shards(project) == {stale[0].path}


def test_index_says_which_configuration_and_what_is_stale(
    foal: Foal, project: Path, some_utterances: list[Utterance]
) -> None:
    (project / "0.wav").write_text("another sound")
    write_manifest(project / "m.csv", some_utterances[:-1])
    done = foal("index")
    assert done.returncode == 0, done.stderr
    audio, face = key_of("audio")[:8], key_of("face")[:8]
    lines = done.stdout.splitlines()
    assert f"audio: random:test -> audio-{audio}" in lines
    assert f"face: random:test -> face-{face}" in lines
    assert any(
        line.startswith("not in the index: audio-00000000: 3 shards of another configuration, ") for line in lines
    )
    wanted = "2 of 18 rows are no longer current (1 not in the manifest, 1 of changed media)"
    assert f"stale: audio-{audio}: {wanted}" in lines
    assert f"stale: face-{face}: 1 of 18 rows are no longer current (1 not in the manifest)" in lines
    assert any("foal clean" in line for line in lines)


def test_index_joins_several_streams_of_a_modality(
    foal_here: Foal, project: Path, make_features: MakeFeatures, some_utterances: list[Utterance]
) -> None:
    write_params(project, streams=["audio", "face", "face/clip"], encoders=CLIP)
    done = foal_here("index")
    assert done.returncode == 2
    assert "there are no shards of face/clip as it is set" in done.stderr
    assert "foal extract --streams face/clip" in done.stderr
    clip = key_of("face/clip", encoders=CLIP)
    make_features(project / "features", some_utterances, widths={"face": 7}, key=clip)
    assert foal_here("index").returncode == 0
    with FeatureStore(project / "feats.h5") as store:
        assert {name: stream.key for name, stream in store.streams.items()} == {
            "audio": key_of("audio"),
            "face": key_of("face"),
            "face/clip": clip,
        }


def test_index_takes_the_keys_it_is_given(foal_here: Foal, project: Path) -> None:
    done = foal_here("index", "--streams", "face", "--config-hash", "face/other=00000000")
    assert done.returncode == 0, done.stderr
    with FeatureStore(project / "feats.h5") as store:
        assert {name: stream.key for name, stream in store.streams.items()} == {
            "face": key_of("face"),
            "face/other": OLD,
        }
    for wrong in ("smell=00000000", "face/=00000000", "face/a/b=00000000", "face", "face="):
        done = foal_here("index", "--config-hash", wrong)
        assert done.returncode == 2
        assert "expected STREAM=KEY" in done.stderr


def test_index_does_not_guess_a_key(foal_here: Foal, project: Path) -> None:
    write_params(project, streams=["face/x"], encoders={"face/x": {"encoder": "nowhere.pt"}})
    done = foal_here("index")
    assert done.returncode == 2
    assert "choose with --key face/x=KEY" in done.stderr
    # The only key there is needs no weights.
    for path in old_shards(project, "face"):
        path.unlink()
    done = foal_here("index")
    assert done.returncode == 0, done.stderr
    assert f"face/x: random:test -> face-{key_of('face')[:8]}" in done.stdout
    done = foal_here("index", "--features", "nowhere", "--config-hash", "face/x=00000000")
    assert done.returncode == 2
    assert "there are no face shards in nowhere" in done.stderr


@pytest.mark.parametrize(
    ("stream", "settings", "words"),
    [
        ("audio", {}, "random:tiny (seed 2024), layers last, fp32"),
        (
            "audio",
            {"audio": {"layers": [0, 2], "max_seconds": 20}, "store": "float32", "precision": "bf16"},
            "random:tiny (seed 2024), layers 0,2, max seconds 20.0, bf16, stored as float32",
        ),
        ("face", {"face": {"margin": 0.3}}, "random:tiny (seed 2024), view face, 10 Hz, margin 0.3, fp32"),
        ("face/clip", {"streams": CLIP}, "random:tiny (seed 2024), view frame, 10 Hz, fp32"),
    ],
    ids=["usual", "unusual", "face", "frame"],
)
def test_a_configuration_in_words(stream: str, settings: dict[str, object], words: str) -> None:
    assert describe(recipe(ExtractSettings.model_validate(settings), stream).header) == words


def test_imported_features_in_words() -> None:
    header = ShardHeader(
        modality="face",
        config_hash=OLD,
        rate_hz=30.0,
        encoder="imported",
        revision="",
        weights="",
        random_weights=False,
        config={"provenance": "imported", "width": 512, "name": "openface", "store": "float16"},
    )
    assert describe(header) == "imported, named openface, 30 Hz"
