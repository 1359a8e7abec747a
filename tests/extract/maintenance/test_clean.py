"""`foal clean` lists and removes exactly the unused shards."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
import pytest

from foal.extract.maintenance.clean import remove_files
from foal.extract.maintenance.stale import find_stale
from foal.shared.files.fingerprint import media_fingerprint
from foal.shared.files.media_state import MediaFingerprints
from foal.shared.hdf5.checked_reader import write_strings
from foal.shared.hdf5.seal import write_seal
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

Foal = Callable[..., "subprocess.CompletedProcess[str]"]
MakeFeatures = Callable[..., Path]
HashOf = Callable[..., str]
WriteParams = Callable[..., None]
CLIP = {"face/clip": {"region": "frame"}}
OLD = "0" * 64


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


def old_shards(project: Path, modality: str = "*") -> set[Path]:
    return set(project.glob(f"features/*/{modality}-00000000/*.h5"))


def mark_imported(paths: Iterable[Path]) -> None:
    for path in paths:
        with h5py.File(path, "r+") as file:
            file.attrs["config"] = np.bytes_('{"provenance": "imported"}')
        write_seal(path)


def test_files_are_listed_and_removed_only_with_remove(foal: Foal, foal_here: Foal, project: Path) -> None:
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


def test_indexed_shards_are_kept_until_the_index_is_rewritten(foal_here: Foal, project: Path) -> None:
    old = f"audio={OLD}", f"face={OLD}"
    assert foal_here("index", "--config-hash", old[0], "--config-hash", old[1]).returncode == 0
    before = files_below(project)
    for options in ([], ["--features-dir", "features"]):
        done = foal_here("clean", "--remove", *options)
        assert done.returncode == 0, done.stderr
        assert "used by feats.h5: run `foal index` first" in done.stdout
        assert files_below(project) == before
    assert foal_here("index").returncode == 0
    assert foal_here("index", "--config-hash", old[0], "--streams", "audio", "-o", "features/feats.h5").returncode == 0
    done = foal_here("clean", "--remove")
    assert "used by features/feats.h5" in done.stdout
    assert old_shards(project, "audio")
    assert not old_shards(project, "face")
    with FeatureStore(project / "feats.h5") as store, FeatureStore(project / "features" / "feats.h5") as other:
        assert len(store.packed("face").offsets) == len(other.packed("audio").offsets) == 19


def test_an_unreadable_index_ends_the_command(foal_here: Foal, project: Path) -> None:
    (project / "feats.h5").write_text("torn")
    before = files_below(project)
    done = foal_here("clean", "--remove")
    assert done.returncode == 1
    assert "the shards that feats.h5 needs are unknown" in done.stderr
    assert files_below(project) == before


def test_a_modality_with_missing_weights_is_not_cleaned(
    foal_here: Foal, project: Path, write_params: WriteParams
) -> None:
    write_params(encoders={"face/clip": {"encoder": "nowhere.pt"}})
    done = foal_here("clean", "--remove")
    assert done.returncode == 0, done.stderr
    assert "the config hash of face/clip needs its weights" in done.stdout
    assert "nowhere.pt" in done.stdout
    assert old_shards(project, "face")
    assert not old_shards(project, "audio")


def test_shards_of_all_streams_of_the_settings_are_kept(
    foal_here: Foal,
    project: Path,
    make_features: MakeFeatures,
    sample_utterances: list[Utterance],
    write_params: WriteParams,
    hash_of: HashOf,
) -> None:
    make_features(project / "features", sample_utterances, widths={"face": 4}, key=hash_of("face/clip", encoders=CLIP))
    write_params(streams=["audio"], encoders=CLIP)
    done = foal_here("clean")
    # Only face/clip is configured for the modality face, so the shards of `face` are unused.
    assert f"face-{hash_of('face')[:8]}" in done.stdout
    assert f"face-{hash_of('face/clip', encoders=CLIP)[:8]}" not in done.stdout
    write_params(streams=["audio"])
    done = foal_here("clean")
    assert f"face-{hash_of('face')[:8]}" not in done.stdout
    assert f"face-{hash_of('face/clip', encoders=CLIP)[:8]}" in done.stdout


def test_keep_config_keeps_the_shards_of_a_config_hash(foal_here: Foal, project: Path) -> None:
    for invalid, message in (
        ("0000", "at least 8"),
        ("face-1234567z", "hexadecimal"),
        ("f" * 64, "no shards of config hash"),
    ):
        done = foal_here("clean", "--remove", "--keep-config", invalid)
        assert done.returncode == 2
        assert message in done.stderr
    before = files_below(project)
    for config_hash in ("00000000", OLD, "audio-00000000"):
        done = foal_here("clean", "--remove", "--keep-config", config_hash)
        assert done.returncode == 0, done.stderr
        assert files_below(project) == before


def test_imported_features_are_removed_only_with_imported(foal_here: Foal, project: Path) -> None:
    mark_imported(old_shards(project, "face"))
    done = foal_here("clean", "--remove")
    assert "--imported" in done.stdout
    assert old_shards(project, "face")
    assert not old_shards(project, "audio")
    assert foal_here("clean", "--remove", "--imported").returncode == 0
    assert not old_shards(project)


@pytest.mark.parametrize("fingerprint", ["stat", "content"])
def test_superseded_shards_are_removed(
    foal_here: Foal,
    project: Path,
    sample_utterances: list[Utterance],
    fingerprint: str,
    write_params: WriteParams,
    hash_of: HashOf,
) -> None:
    write_params(fingerprint=fingerprint)
    (shard,) = project.glob(f"features/session1/audio-{hash_of('audio')[:8]}/*.h5")
    for utterance in sample_utterances:
        (project / utterance.audio).write_text("sound")
    for path in project.glob(f"features/*/audio-{hash_of('audio')[:8]}/*.h5"):
        with h5py.File(path, "r+") as file:
            names = list(file["ids"].asstr())
            del file["media"]
            files = [project / f"{name[1:]}.wav" for name in names]
            write_strings(file, media=[media_fingerprint(path, content=fingerprint == "content") for path in files])
        write_seal(path)
    assert foal_here("clean", "--remove", "--keep-config", OLD).stdout.count("superseded") == 0
    assert shard.exists()
    for utterance in sample_utterances:
        if utterance.split == "session1":
            (project / utterance.audio).write_text("another sound")
    before = files_below(project)
    done = foal_here("clean", "--remove", "--keep-config", OLD)
    assert "superseded" in done.stdout
    assert files_below(project) == before - {shard}


def test_nothing_is_removed_through_a_symbolic_link(foal_here: Foal, project: Path) -> None:
    features, outside = project / "features", project / "outside"
    (features / "session1").rename(outside)
    (features / "session1").symlink_to(outside)
    linked = features / "session2" / "face-00000000" / "shard.h5"
    linked.rename(project / "elsewhere.h5")
    linked.symlink_to(project / "elsewhere.h5")
    # A link to session3 whose name is no split of the manifest.
    (features / "session4").symlink_to(features / "session3")
    before = files_below(project) | files_below(outside) | files_below(features / "session3")
    removed = set(features.glob("session[23]/*-00000000/*.h5")) - {linked}
    done = foal_here("clean", "--remove")
    assert done.returncode == 0, done.stderr
    assert "reached through a symbolic link" in done.stdout
    assert f"removed {len(removed)} of {len(removed)} files" in done.stdout
    assert files_below(project) | files_below(outside) | files_below(features / "session3") == before - removed


def test_a_linked_features_folder_is_cleaned(foal_here: Foal, project: Path) -> None:
    (project / "features").rename(project / "disk")
    (project / "features").symlink_to(project / "disk")
    assert "removed 6 of 6 files" in foal_here("clean", "--remove").stdout
    assert not old_shards(project)


def test_an_extraction_removes_the_unfinished_index_of_a_killed_run(foal_here: Foal, project: Path) -> None:
    prefix = f".tmp-{socket.gethostname()}~{2**22 + 1}"
    for name in ("feats.h5", "other.h5"):
        (project / f"{prefix}~{name}").write_text("half of an index")
    assert foal_here("extract", "--split", "all").returncode == 0
    assert [path.name for path in project.glob(".tmp-*")] == [f"{prefix}~other.h5"]


def test_a_shard_replaced_during_the_run_is_kept(
    project: Path, sample_utterances: list[Utterance], hash_of: HashOf
) -> None:
    features = project / "features"
    config_hashes = {modality: hash_of(modality) for modality in ("audio", "face")}
    stale = find_stale(features, sample_utterances, config_hashes, MediaFingerprints(project)).stale
    os.utime(stale[0].path, ns=(1, 1))
    assert remove_files(features, stale)[0] == 5
    assert old_shards(project) == {stale[0].path}
