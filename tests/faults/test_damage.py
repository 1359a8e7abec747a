"""Damage on the disk: every flipped bit and every cut is named by `foal verify`, and mended by the next extraction."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import pytest
from distributed import LocalCluster

from foal.shared.errors import StoreError
from foal.shared.hdf5.seal import write_seal
from foal.shared.store.feature_store import VERSION as INDEX_VERSION
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.shard import VERSION

FLIPS, CUTS, AT_ONCE, INDEX_FLIPS = 300, 50, 25, 50
MENDED = "named by `foal verify`; `foal extract` made it again, the values byte for byte the same"


class Corpus:
    """A folder with extracted features, and what is in them."""

    def __init__(self, folder: Path, foal_in: Any, features_of: Any, options: list[str]) -> None:
        self.folder, self._foal_in, self._features_of, self._options = folder, foal_in, features_of, options
        assert self.extract() == (0, "")
        self.wanted = self.values()
        self.shards = sorted(self.folder.glob("features/*/*/*.h5"))

    def extract(self) -> tuple[int, str]:
        done = self._foal_in(self.folder, "extract", *self._options)
        return done.returncode, done.stderr

    def index(self) -> tuple[int, str]:
        known = [self._options[at : at + 2] for at in (2, 4)]
        done = self._foal_in(self.folder, "index", *known[0], *known[1])
        return done.returncode, done.stderr

    def verify(self, target: Path | str = "features") -> dict[Path, str]:
        """What `foal verify` names, and why."""
        done = self._foal_in(self.folder, "verify", target)
        lines = [line.partition(": ") for line in done.stdout.splitlines() if ": " in line]
        assert done.returncode == (1 if lines else 0)
        return {self.folder / path: reason for path, _, reason in lines}

    def values(self) -> Any:
        return self._features_of(self.folder / "features")

    def mended(self) -> None:
        """The next extraction leaves everything as it was."""
        assert self.extract() == (0, "")
        self.in_order()

    def in_order(self) -> None:
        assert self.verify() == {}
        assert self.verify("feats.h5") == {}
        assert self.values() == self.wanted
        assert sorted(self.folder.glob("features/*/*/*")) == self.shards


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    # Dask leaves what it sets for its workers in the environment of this process.
    with patch.dict(os.environ):
        cluster = LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0")
    with cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def corpus(
    foal_in: Any, features_of: Any, synthetic_corpus: Path, tmp_path_factory: pytest.TempPathFactory, scheduler: str
) -> Corpus:
    folder = tmp_path_factory.mktemp("damage")
    assert foal_in(folder, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv").returncode == 0
    given = ["-s", "all", "-m", "m.csv", "-r", str(synthetic_corpus), "--chunk-seconds", "1", "--scheduler", scheduler]
    found = Corpus(folder, foal_in, features_of, given)
    assert len(found.shards) >= AT_ONCE
    return found


def flipped(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    bit = chance.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def in_rounds(
    corpus: Corpus, chance: random.Random, count: int, spoil: Callable[[Path], None], trial: Any, fault: str
) -> None:
    for first in range(0, count, AT_ONCE):
        some = chance.sample(corpus.shards, min(AT_ONCE, count - first))
        with trial(fault, MENDED, count=len(some)):
            for path in some:
                spoil(path)
            assert sorted(corpus.verify()) == sorted(some)
            corpus.mended()


def test_flipped_bits(corpus: Corpus, trial: Any) -> None:
    chance = random.Random(11)
    in_rounds(corpus, chance, FLIPS, lambda path: flipped(path, chance), trial, "a bit flips anywhere in a shard")


def test_cut_shards(corpus: Corpus, trial: Any) -> None:
    chance = random.Random(12)
    lengths = iter([0, -1])

    def spoil(path: Path) -> None:
        match next(lengths, None):
            case None:
                cut(path, chance)
            case length:
                os.truncate(path, length % path.stat().st_size)

    in_rounds(corpus, chance, CUTS, spoil, trial, "a shard is cut short")


def test_flipped_bits_of_the_index(corpus: Corpus, trial: Any) -> None:
    chance, index = random.Random(13), corpus.folder / "feats.h5"
    for number in range(INDEX_FLIPS):
        with trial(
            "a bit flips anywhere in feats.h5", "named by `foal verify` and refused; mended by the next command"
        ):
            flipped(index, chance)
            assert list(corpus.verify("feats.h5")) == [index]
            with pytest.raises(StoreError, match=r"feats\.h5: damaged|feats\.h5: expected"):
                FeatureStore(index)
            assert (corpus.extract if number % 10 == 0 else corpus.index)() == (0, "")
            assert corpus.verify("feats.h5") == {}
    corpus.in_order()


def test_cut_index(corpus: Corpus, trial: Any) -> None:
    chance, index = random.Random(14), corpus.folder / "feats.h5"
    for _ in range(10):
        with trial("feats.h5 is cut short", "named by `foal verify` and refused; mended by the next command"):
            cut(index, chance)
            assert list(corpus.verify("feats.h5")) == [index]
            with pytest.raises(StoreError, match=r"feats\.h5: "):
                FeatureStore(index)
            assert corpus.index() == (0, "")
    corpus.in_order()


@pytest.mark.sample
def test_missing_shards(corpus: Corpus, trial: Any) -> None:
    gone = random.Random(15).sample(corpus.shards, 5)
    with trial("a shard is gone", "named by `foal verify feats.h5`, made again", count=len(gone)):
        for path in gone:
            path.unlink()
        named = corpus.verify("feats.h5")
        assert sorted(named) == sorted(gone)
        assert all("no such shard" in reason for reason in named.values())
        corpus.mended()


def test_swapped_shards(corpus: Corpus, trial: Any) -> None:
    audio = [path for path in corpus.shards if path.parent.name.startswith("audio")]
    face = [path for path in corpus.shards if path.parent.name.startswith("face")]
    with trial("a shard holds another modality's content", "named as foreign, made again", count=2):
        spare = audio[0].read_bytes()
        shutil.copyfile(face[0], audio[0])
        face[0].write_bytes(spare)
        named = corpus.verify()
        assert sorted(named) == [audio[0], face[0]]
        assert all("expected a shard of this folder" in reason for reason in named.values())
        corpus.mended()
    with trial("a shard holds its neighbour's content", "what is missing is made again"):
        neighbours = [path for path in audio if path.parent == audio[0].parent]
        shutil.copyfile(neighbours[1], neighbours[0])
        corpus.mended()


@pytest.mark.sample
@pytest.mark.parametrize("what", ["shard", "index"])
def test_files_of_a_newer_foal(corpus: Corpus, trial: Any, what: str) -> None:
    path, version = (corpus.shards[0], VERSION) if what == "shard" else (corpus.folder / "feats.h5", INDEX_VERSION)
    before = path.read_bytes()
    name = "a shard" if what == "shard" else "feats.h5"
    with trial(f"{name} is of a newer foal", "refused with its version, and left alone"):
        with h5py.File(path, "r+") as file:
            file.attrs["version"] = version + 1
        write_seal(path)
        newer = path.read_bytes()
        said = f"format {version + 1} (a newer foal); this version reads format {version}; update foal"
        assert [said in reason for reason in corpus.verify(path.relative_to(corpus.folder)).values()] == [True]
        for command in (corpus.extract, corpus.index):
            code, message = command()
            assert code == 1
            assert said in message
            assert path.read_bytes() == newer
    path.write_bytes(before)
    corpus.in_order()
