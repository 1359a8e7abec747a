"""Damaged shards and indexes: `foal verify` reports every bit flip and truncation, and the next run repairs it."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from foal.shared.errors import StoreError
from foal.shared.hdf5.seal import write_seal
from foal.shared.store.catalog import CATALOG_NAME
from foal.shared.store.feature_store import VERSION as INDEX_VERSION
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.shard import VERSION

FLIPS, TRUNCATIONS, BATCH, INDEX_FLIPS, CATALOG_ROUNDS = 300, 50, 25, 50, 5
RECOMPUTED = "reported by `foal verify`; `foal extract` recomputes it with byte-identical values"
REBUILT = "not used; the next `foal extract` reads the shards and writes the same file again"
REWRITTEN = "reported by `foal verify`; refused when opened; the next command rewrites it"


class Corpus:
    """A folder with extracted features, and their expected values."""

    def __init__(self, folder: Path, foal_in: Any, read_features: Any, options: list[str]) -> None:
        self.folder, self._foal_in, self._read_features, self._options = folder, foal_in, read_features, options
        assert self.extract() == (0, "")
        self.expected = self.values()
        self.shards = sorted(self.folder.glob("features/*/*/*.h5"))
        self.catalogs = sorted(self.folder.glob(f"features/*/*/{CATALOG_NAME}"))

    def extract(self) -> tuple[int, str]:
        done = self._foal_in(self.folder, "extract", *self._options)
        return done.returncode, done.stderr

    def index(self) -> tuple[int, str]:
        manifest_and_root = self._options[2:6]
        done = self._foal_in(self.folder, "index", *manifest_and_root)
        return done.returncode, done.stderr

    def verify(self, target: Path | str = "features") -> dict[Path, str]:
        """Return the files that `foal verify` reports, with the reasons."""
        done = self._foal_in(self.folder, "verify", target)
        lines = [line.partition(": ") for line in done.stdout.splitlines() if ": " in line]
        assert done.returncode == (1 if lines else 0)
        return {self.folder / path: reason for path, _, reason in lines}

    def values(self) -> Any:
        return self._read_features(self.folder / "features")

    def repair(self) -> None:
        """Run the next extraction and check that it restores everything."""
        assert self.extract() == (0, "")
        self.check_intact()
        # With the catalogs that were stored, the next run has nothing to do.
        assert "All features are up to date." in self._foal_in(self.folder, "extract", *self._options).stdout

    def check_intact(self) -> None:
        assert self.verify() == {}
        assert self.verify("feats.h5") == {}
        assert self.values() == self.expected
        assert sorted(self.folder.glob("features/*/*/*")) == sorted([*self.shards, *self.catalogs])


@pytest.fixture(scope="module")
def corpus(
    foal_in: Any, read_features: Any, synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory, scheduler: str
) -> Corpus:
    folder = tmp_path_factory.mktemp("damage")
    assert foal_in(folder, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    options = ["-s", "all", "-m", "m.csv", "-r", str(synthetic_corpus)]
    options += ["--chunk-seconds", "1", "--scheduler", scheduler]
    corpus = Corpus(folder, foal_in, read_features, options)
    assert len(corpus.shards) >= BATCH
    return corpus


def flip_bit(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def truncate(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


def damage_and_repair(
    corpus: Corpus, rng: random.Random, count: int, damage: Callable[[Path], None], trial: Any, fault: str
) -> None:
    for first in range(0, count, BATCH):
        batch = rng.sample(corpus.shards, min(BATCH, count - first))
        with trial(fault, RECOMPUTED, count=len(batch)):
            for path in batch:
                damage(path)
            assert sorted(corpus.verify()) == sorted(batch)
            corpus.repair()


def test_bit_flips_in_shards_are_reported_and_repaired(corpus: Corpus, trial: Any) -> None:
    rng = random.Random(11)
    damage_and_repair(corpus, rng, FLIPS, lambda path: flip_bit(path, rng), trial, "a bit flip anywhere in a shard")


def test_truncated_shards_are_reported_and_repaired(corpus: Corpus, trial: Any) -> None:
    rng = random.Random(12)
    lengths = iter([0, -1])

    def truncate_next(path: Path) -> None:
        match next(lengths, None):
            case None:
                truncate(path, rng)
            case length:
                os.truncate(path, length % path.stat().st_size)

    damage_and_repair(corpus, rng, TRUNCATIONS, truncate_next, trial, "a truncated shard")


@pytest.mark.parametrize(
    ("fault", "damage"),
    [
        ("a bit flip anywhere in a catalog", flip_bit),
        ("a truncated catalog", truncate),
        ("a lost catalog", lambda path, rng: path.unlink()),
    ],
)
def test_damaged_catalogs_are_rebuilt(
    corpus: Corpus, trial: Any, fault: str, damage: Callable[[Path, random.Random], None]
) -> None:
    rng = random.Random(16)
    corpus.repair()
    before = {path: path.read_bytes() for path in corpus.catalogs}
    for _ in range(CATALOG_ROUNDS):
        with trial(fault, REBUILT, count=len(before)):
            for path in before:
                damage(path, rng)
            corpus.repair()
            assert {path: path.read_bytes() for path in before} == before


def test_bit_flips_in_the_index_are_reported_and_repaired(corpus: Corpus, trial: Any) -> None:
    rng, index = random.Random(13), corpus.folder / "feats.h5"
    for number in range(INDEX_FLIPS):
        with trial("a bit flip anywhere in feats.h5", REWRITTEN):
            flip_bit(index, rng)
            assert list(corpus.verify("feats.h5")) == [index]
            with pytest.raises(StoreError, match=r"feats\.h5: damaged|feats\.h5: expected"):
                FeatureStore(index)
            assert (corpus.extract if number % 10 == 0 else corpus.index)() == (0, "")
            assert corpus.verify("feats.h5") == {}
    corpus.check_intact()


def test_truncated_index_is_reported_and_repaired(corpus: Corpus, trial: Any) -> None:
    rng, index = random.Random(14), corpus.folder / "feats.h5"
    for _ in range(10):
        with trial("a truncated feats.h5", REWRITTEN):
            truncate(index, rng)
            assert list(corpus.verify("feats.h5")) == [index]
            with pytest.raises(StoreError, match=r"feats\.h5: "):
                FeatureStore(index)
            assert corpus.index() == (0, "")
    corpus.check_intact()


@pytest.mark.sample
def test_missing_shards_are_reported_and_recomputed(corpus: Corpus, trial: Any) -> None:
    missing = random.Random(15).sample(corpus.shards, 5)
    with trial(
        "a missing shard", "reported by `foal verify feats.h5`; `foal extract` recomputes it", count=len(missing)
    ):
        for path in missing:
            path.unlink()
        reported = corpus.verify("feats.h5")
        assert sorted(reported) == sorted(missing)
        assert all("no such shard" in reason for reason in reported.values())
        corpus.repair()


def test_swapped_shards_are_recomputed(corpus: Corpus, trial: Any) -> None:
    audio = [path for path in corpus.shards if path.parent.name.startswith("audio")]
    face = [path for path in corpus.shards if path.parent.name.startswith("face")]
    with trial("a shard replaced by one of another modality", RECOMPUTED, count=2):
        audio_content = audio[0].read_bytes()
        shutil.copyfile(face[0], audio[0])
        face[0].write_bytes(audio_content)
        reported = corpus.verify()
        assert sorted(reported) == [audio[0], face[0]]
        assert all("expected a shard of this folder" in reason for reason in reported.values())
        corpus.repair()
    with trial("a shard replaced by another shard of its folder", "`foal extract` recomputes the missing utterances"):
        siblings = [path for path in audio if path.parent == audio[0].parent]
        shutil.copyfile(siblings[1], siblings[0])
        corpus.repair()


@pytest.mark.sample
@pytest.mark.parametrize("file_kind", ["shard", "index"])
def test_files_of_a_newer_version_are_refused_and_kept(corpus: Corpus, trial: Any, file_kind: str) -> None:
    path, version = (corpus.shards[0], VERSION) if file_kind == "shard" else (corpus.folder / "feats.h5", INDEX_VERSION)
    before = path.read_bytes()
    name = "a shard" if file_kind == "shard" else "feats.h5"
    with trial(f"{name} of a newer foal version", "refused with its version number; left unchanged"):
        with h5py.File(path, "r+") as file:
            file.attrs["version"] = version + 1
        write_seal(path)
        newer = path.read_bytes()
        message = f"format {version + 1} (written by a newer version of foal); this version reads format {version}"
        assert [message in reason for reason in corpus.verify(path.relative_to(corpus.folder)).values()] == [True]
        for command in (corpus.extract, corpus.index):
            code, stderr = command()
            assert code == 1
            assert message in stderr
            assert path.read_bytes() == newer
    path.write_bytes(before)
    corpus.check_intact()
