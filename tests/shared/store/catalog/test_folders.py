"""Folders and names of shards."""

from collections.abc import Callable
from pathlib import Path

from foal.shared.store.catalog import config_hashes_on_disk, shard_files, shard_folder, shard_name
from foal.shared.utterance import Utterance


def test_shards_are_found_by_split_without_temporary_files_and_catalogs(
    tmp_path: Path, make_features: Callable[..., Path], sample_utterances: list[Utterance]
) -> None:
    features = make_features(tmp_path, sample_utterances, widths={"audio": 4}, key="a1" * 32)
    folder = shard_folder(features, "session1", "audio", "a1" * 32)
    assert folder == tmp_path / "session1" / "audio-a1a1a1a1"
    for name in (".tmp-host~1~shard.h5", "catalog.hdf5", "notes.txt"):
        (folder / name).touch()
    (tmp_path / "session1" / "face-b2b2b2b2").mkdir()
    assert shard_files(features, "audio", "a1a1a1a1", ["session1"]) == [folder / "shard.h5"]
    assert [path.parent.parent.name for path in shard_files(features, "audio", "a1a1a1a1")] == [
        "session1",
        "session2",
        "session3",
    ]
    assert config_hashes_on_disk(features, "audio") == ["a1a1a1a1"]
    assert config_hashes_on_disk(features, "face") == []


def test_the_name_of_a_shard_depends_on_ids_and_sources() -> None:
    first, second = Utterance(id="a", audio="a.wav", end=1.0), Utterance(id="b", audio="a.wav", end=2.0)
    name = shard_name("audio", [first, second])
    assert name == shard_name("audio", [first, second])
    others = {shard_name("audio", [first]), shard_name("audio", [second, first]), shard_name("face", [first, second])}
    assert name not in others
    assert len(others) == 3
