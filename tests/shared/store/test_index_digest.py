"""The digest of an index is the hash of the JSON of its rows, as in all earlier versions."""

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.store.catalog import Catalog, CatalogRows, ShardInfo
from foal.shared.store.index_digest import BLOCK_ROWS, index_digest, index_fingerprint
from foal.shared.store.index_reader import VERSION
from foal.shared.store.index_tables import LocatedStream, utterance_columns
from foal.shared.utterance import COLUMNS, DIALOG, Utterance
from foal.tests.shared.sample_shard import HEADER

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
UTTERANCES = st.builds(
    Utterance,
    id=TEXTS,
    corpus=TEXTS,
    label=TEXTS,
    transcript=TEXTS,
    start=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    end=st.none() | st.floats(0, 1e4) | st.integers(0, 9),
    valence=st.none() | st.floats(1, 5),
    dialog=TEXTS,
    turn=st.none() | st.integers(0, 99),
    shares=st.lists(st.tuples(TEXTS, st.floats(0, 1)), max_size=2).map(tuple),
)

CHANGES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "id": TEXTS,
        "label": TEXTS,
        "crop": st.sampled_from(["full", "left"]),
        "start": st.none() | st.floats(0, 1e4),
        "turn": st.none() | st.integers(0, 3),
        "shares": st.just(()) | st.just((("a", 1.0),)),
    },
)
"""New values of some fields."""


def make_stream(count: int, notes: Sequence[str]) -> LocatedStream:
    """A stream whose rows are those of one shard in reverse."""
    info = ShardInfo(
        header=HEADER,
        digest="",
        frame_shape=(4,),
        dtype="float16",
        size=1,
        extents=(0, 0, 0),
        created="",
        modified=0,
        verified=True,
    )
    numbers = np.arange(count, dtype=np.int64)
    texts = np.array([""] * count, object)
    rows = CatalogRows(
        ids=texts,
        sources=texts,
        checksums=np.array([f"{number:032x}" for number in range(count)], object),
        media=texts,
        contents=texts,
        notes=np.array([*notes, *[""] * count][:count], object),
        shard=numbers * 0,
        row=numbers,
        offset=numbers,
        length=numbers + 3,
        valid_frames=numbers,
        origins=numbers.astype(float),
    )
    path = Path("x.h5")
    return LocatedStream(catalog=Catalog(shards={path: info}, paths=[path], rows=rows), rows=numbers[::-1])


def reference(utterances: Sequence[Utterance], streams: dict[str, LocatedStream]) -> str:
    digest = blake2b(digest_size=16)
    for position, utterance in enumerate(utterances):
        columns: list[Any] = [getattr(utterance, column) for column in COLUMNS if column not in DIALOG]
        columns += [[name, value] for name in DIALOG if (value := getattr(utterance, name)) not in ("", None)]
        columns += [["shares", utterance.shares]] if utterance.shares else []
        features = []
        for name, stream in sorted(streams.items()):
            at = stream.catalog.location(int(stream.rows[position]))
            features.append((name, HEADER.config_hash, at.checksum, at.length, at.note))
        digest.update(json.dumps([VERSION, columns, features]).encode())
    return digest.hexdigest()


@given(st.lists(UTTERANCES, min_size=1, max_size=5), st.lists(TEXTS, max_size=5))
def test_the_digest_is_that_of_the_json_of_each_row(utterances: list[Utterance], notes: list[str]) -> None:
    streams = {"face/clip": make_stream(len(utterances), notes), "audio": make_stream(len(utterances), [])}
    assert index_digest(utterance_columns(utterances), streams) == reference(utterances, streams)


def test_rows_are_hashed_in_blocks() -> None:
    utterances = [Utterance(id=str(number)) for number in range(BLOCK_ROWS + 2)]
    streams = {"audio": make_stream(len(utterances), [])}
    assert index_digest(utterance_columns(utterances), streams) == reference(utterances, streams)


@given(st.data())
def test_the_fingerprint_is_the_same_if_and_only_if_the_digest_is(data: st.DataObject) -> None:
    def hashes(utterances: Sequence[Utterance], notes: Sequence[str]) -> tuple[str, str]:
        streams = {"face/clip": make_stream(len(utterances), notes), "audio": make_stream(len(utterances), [])}
        columns = utterance_columns(utterances)
        return index_digest(columns, streams), index_fingerprint(columns, streams)

    utterances = data.draw(st.lists(UTTERANCES, min_size=1, max_size=3))
    notes = data.draw(st.lists(TEXTS, max_size=3))
    other = replace(data.draw(st.sampled_from(utterances)), **data.draw(CHANGES))
    others = [*utterances[:-1], other]
    other_notes = data.draw(st.just(notes) | st.lists(TEXTS, max_size=3))
    (digest, fingerprint), (other_digest, other_fingerprint) = hashes(utterances, notes), hashes(others, other_notes)
    assert (digest == other_digest) == (fingerprint == other_fingerprint)


def test_the_fingerprint_separates_columns_rows_and_streams() -> None:
    """Texts that have the same concatenation, an integer and a float, and another stream of the same rows."""
    alike = [
        [Utterance(id="ab", corpus="c")],
        [Utterance(id="a", corpus="bc")],
        [Utterance(id="a"), Utterance(id="bc")],
        [Utterance(id="ab"), Utterance(id="c")],
        [Utterance(id="a", end=1)],
        [Utterance(id="a", end=1.0)],
    ]
    found = {
        index_fingerprint(utterance_columns(utterances), {name: make_stream(len(utterances), [])})
        for utterances in alike
        for name in ("audio", "face")
    }
    assert len(found) == 2 * len(alike)
