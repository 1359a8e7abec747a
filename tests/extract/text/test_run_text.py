"""Text streams from a manifest of transcripts alone: no media, one row per corrected transcript, import, inspection."""

import csv
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foal.extract.text.transcript import NO_TRANSCRIPT, ONLY_TAGS
from foal.shared.manifest import read_manifest, write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.store.shard import ShardReader
from foal.shared.utterance import Utterance

pytestmark = pytest.mark.slow

Foal = Callable[..., "subprocess.CompletedProcess[str]"]

LINES = (
    "Good morning.",
    "",
    "[LAUGHTER]",
    "You are late [BREATHING] again.",
    "It  rained.",
    "So?",
    "Never mind.",
    "No",
)
"""The first rows: two without words."""


def rows(dialogs: int = 2) -> list[Utterance]:
    """Dialogs of eight turns; a row without words needs the name of a file, which does not exist."""
    return [
        Utterance(
            id=f"d{dialog}_{turn}",
            corpus="words",
            session=f"s{dialog + 1}",
            speaker=f"s{dialog}{'FM'[turn % 2]}",
            label=("hap", "sad")[turn % 2],
            audio="" if line else "a.wav",
            transcript=line,
            dialog=f"d{dialog}",
            turn=turn,
        )
        for dialog in range(dialogs)
        for turn, line in enumerate(LINES)
    ]


@pytest.fixture
def corpus(tmp_path: Path, scheduler: str) -> Path:
    """A folder with a manifest of transcripts and params.yaml; the corpus root does not exist."""
    write_manifest(tmp_path / "m.csv", rows())
    (tmp_path / "params.yaml").write_text(
        "corpus: {manifest: m.csv, root: nowhere}\n"
        f"cluster: {{scheduler: '{scheduler}'}}\nextract: {{streams: [text], dtype: float32}}\n"
    )
    return tmp_path


def correct(path: Path, utterance_id: str, transcript: str) -> None:
    utterances = [replace(u, transcript=transcript) if u.id == utterance_id else u for u in read_manifest(path)]
    write_manifest(path, utterances)


def ids_by_shard(features: Path) -> dict[Path, list[str]]:
    found = {}
    for path in sorted(features.rglob("*.h5")):
        with ShardReader(path) as shard:
            found[path] = shard.ids
    return found


def test_transcripts_alone_are_a_corpus(corpus: Path, foal_here: Foal) -> None:
    done = foal_here("extract", "--split", "all")
    assert done.returncode == 0, done.stderr
    assert len(ids_by_shard(corpus / "features")) == 2, "one shard per session, whatever chunk_seconds is"
    with FeatureStore(corpus / "feats.h5") as store:
        info = store.streams["text"]
        assert (info.rate_hz, info.frame_shape, info.random_weights) == (0.0, (64,), True)
        assert info.config["transcripts"] == "manual"
        assert store.lengths("text")[:4].tolist() == [13, 0, 0, len("You are late again.")]
        assert (store.valid_frames("text") == store.lengths("text")).all()
        assert store.notes("text")[:4] == ["", NO_TRANSCRIPT, ONLY_TAGS, ""]
        first, again = store.packed("text", [0]), store.packed("text", [8])
        np.testing.assert_allclose(first.values, again.values, rtol=1e-5, atol=1e-5)

    inspected = foal_here("inspect", "--csv", "quality.csv")
    assert f"2 with {NO_TRANSCRIPT}" in inspected.stdout
    assert f"2 with {ONLY_TAGS}" in inspected.stdout
    assert "unknown tokens 0.00%; 0 utterances truncated" in inspected.stdout
    with open(corpus / "quality.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["text:truncated"] for row in table[:3]] == ["0", "", ""]


@pytest.mark.parametrize(("context", "recomputed"), [(0, 1), (2, 3)])
def test_one_corrected_transcript_recomputes_one_row_and_the_rows_that_read_it(
    corpus: Path, foal_here: Foal, context: int, recomputed: int
) -> None:
    options = ["extract", "--split", "all", "--text-context", str(context)]
    assert foal_here(*options).returncode == 0
    before = ids_by_shard(corpus / "features")
    correct(corpus / "m.csv", "d0_4", "It snowed.")
    indexed = foal_here("index")
    assert f"manifest row changed: transcript: {recomputed} utterance" in indexed.stdout
    done = foal_here(*options)
    assert done.returncode == 0, done.stderr
    new = [name for path, ids in ids_by_shard(corpus / "features").items() if path not in before for name in ids]
    assert new == [f"d0_{turn}" for turn in range(4, 4 + recomputed)]
    assert f"{16 - recomputed} of 16 utterances already extracted" in done.stdout

    # A label, the time of the turn and white space change nothing.
    write_manifest(
        corpus / "m.csv",
        [
            replace(u, label="neu", start=1.0, end=2.0, transcript=f" {u.transcript} ")
            for u in read_manifest(corpus / "m.csv")
        ],
    )
    done = foal_here(*options)
    assert "All features are up to date" in done.stdout
    assert foal_here("verify", "features").returncode == 0


def test_the_context_reaches_the_encoder_and_is_not_stored(corpus: Path, foal_here: Foal) -> None:
    values = {}
    for name, settings in (("none", ""), ("two", "context: 2"), ("letters", "context: 2, speakers: letters")):
        done = foal_here("extract", "--split", "all", "--set", f"extract.text={{{settings}}}", "--index", f"{name}.h5")
        assert done.returncode == 0, done.stderr
        with FeatureStore(corpus / f"{name}.h5") as store:
            values[name] = [store.packed("text", [row]).values for row in range(8)]
    for name in ("two", "letters"):
        assert [part.shape for part in values[name]] == [part.shape for part in values["none"]]
    np.testing.assert_allclose(values["two"][0], values["none"][0], rtol=1e-5, atol=1e-5, err_msg="the first turn")
    for row in (4, 5, 6, 7):
        assert np.abs(values["two"][row] - values["none"][row]).max() > 1e-2
        assert np.abs(values["two"][row] - values["letters"][row]).max() > 1e-2


def test_turns_that_the_manifest_lacks_are_named(corpus: Path, foal_here: Foal) -> None:
    write_manifest(corpus / "m.csv", [row for row in rows() if row.id != "d1_5"])
    done = foal_here("extract", "--split", "all", "--text-context", "1", "--no-index")
    assert done.returncode == 0, done.stderr
    assert "text: the manifest lacks some of the 1 turn before 1 utterance (d1_6)" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"transcript": "", "audio": "a.wav"}, [], "text features need the column transcript, which is empty"),
        ({}, ["--streams", "face"], "face features need the column video, which is empty in all 16 rows"),
        (
            {"dialog": "", "turn": None},
            ["--text-context", "2"],
            "text reads 2 previous turns, which needs the columns dialog and turn",
        ),
    ],
)
def test_missing_columns_are_named(
    corpus: Path, foal_here: Foal, columns: dict[str, str], options: list[str], message: str
) -> None:
    write_manifest(corpus / "m.csv", [replace(u, **columns) for u in rows()])  # type: ignore[arg-type]
    done = foal_here("extract", "--split", "all", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_index_can_leave_the_transcripts_out(corpus: Path, foal_here: Foal) -> None:
    assert foal_here("extract", "--split", "all").returncode == 0
    packed = foal_here("index", "--pack", "-o", "packed.h5")
    assert "contains the transcripts of 14 utterances" in packed.stdout
    without = foal_here("index", "--pack", "--no-transcripts", "-o", "without.h5")
    assert "contains the transcripts" not in without.stdout
    with FeatureStore(corpus / "packed.h5") as store, FeatureStore(corpus / "without.h5") as other:
        assert {u.transcript for u in store.utterances} == set(LINES)
        assert {u.transcript for u in other.utterances} == {""}
        assert (other.lengths("text") == store.lengths("text")).all()
    assert b"You are late" in (corpus / "packed.h5").read_bytes()
    assert b"You are late" not in (corpus / "without.h5").read_bytes()
    assert all(b"You are late" not in path.read_bytes() for path in (corpus / "features").rglob("*.h5"))


def test_imported_text_features_have_no_rate_and_survive_a_corrected_transcript(corpus: Path, foal_here: Foal) -> None:
    (corpus / "npy").mkdir()
    random = np.random.default_rng(0)
    for number, utterance in enumerate(rows()):
        words = np.zeros((1, 5)) if number == 2 else random.normal(size=(number % 4 + 1, 5))
        np.save(corpus / "npy" / f"{utterance.id}.npy", words.astype(np.float32))
    done = foal_here("import", "--text", "npy", "--name", "bert", "-o", "imported")
    assert done.returncode == 0, done.stderr
    assert "text/bert: width 5, 38 tokens of 16 utterances" in done.stdout
    assert "1 of 38 frames are zeros (no words) and were marked invalid" in done.stdout
    with FeatureStore(corpus / "imported" / "feats.h5") as store:
        assert store.streams["text/bert"].rate_hz == 0
        assert store.valid_frames("text/bert")[2] == 0
    correct(corpus / "m.csv", "d0_4", "It snowed.")
    done = foal_here("index", "--features-dir", "imported", "--streams", "text")
    assert done.returncode == 0, done.stderr
    assert "imported/feats.h5: 16 utterances" in done.stdout
