"""The manifest of MELD, from a layout with the irregularities of the original."""

from collections.abc import Callable
from pathlib import Path

import pytest

from foal.manifests.corpora import meld
from foal.shared.errors import ManifestError

Touch = Callable[..., Path]
HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
TRAIN = "MELD.Raw/train/train_splits"
DEV = "MELD.Raw/dev/dev_splits_complete"
TEST = "MELD.Raw/test/output_repeated_splits_test"


def row(dialog: int, turn: int, emotion: str, *, text: str = "Oh.", end: str = "00:00:03,500") -> str:
    return f'1,"{text}",Ross,{emotion},neutral,{dialog},{turn},1,2,"0:00:01,250","{end}"\n'


@pytest.fixture
def root(touch: Touch) -> Path:
    """Three sets whose ids repeat, with files that are missing, broken, cut wrongly, or in no table."""
    folder = touch(
        f"{TRAIN}/dia0_utt0.mp4",
        f"{TRAIN}/dia0_utt2.mp4",
        f"{TRAIN}/dia125_utt3.mp4",
        f"{TRAIN}/._dia0_utt0.mp4",
        f"{DEV}/dia0_utt0.mp4",
        f"{DEV}/dia49_utt4.mp4",
        f"{TEST}/dia0_utt0.mp4",
        f"{TEST}/dia38_utt4.mp4",
        f"{TEST}/final_videos_testdia0_utt0.mp4",
        "dia7_utt7.mp4",
    )
    tables = {
        "train": row(0, 0, "joy", text="It\u2019s \u2026 you, here.") + row(0, 2, "Neutral") + row(125, 3, "anger"),
        "dev": row(0, 0, "fear") + row(110, 7, "neutral"),
        "test": row(0, 0, "sadness") + row(38, 4, "joy", end="0:05:06,632"),
    }
    for name, rows in tables.items():
        (folder / f"{name}_sent_emo.csv").write_text(HEADER + rows, encoding="utf-8")
    (folder / "train_sent_emo_dya.csv").write_text("dyadic\n")
    return folder


def test_sets_ids_speakers_and_texts_are_read(root: Path) -> None:
    result = meld.build(root)
    assert [(u.id, u.fold, u.label, u.dialog, u.turn) for u in result.utterances] == [
        ("train_dia0_utt0", "train", "joy", "train_dia0", 0),
        ("train_dia0_utt2", "train", "neutral", "train_dia0", 2),
        ("dev_dia0_utt0", "dev", "fear", "dev_dia0", 0),
        ("test_dia0_utt0", "test", "sadness", "test_dia0", 0),
        ("test_dia38_utt4", "test", "joy", "test_dia38", 4),
    ]
    first = result.utterances[0]
    assert (first.audio, first.video) == (f"{TRAIN}/dia0_utt0.mp4",) * 2
    assert (first.speaker, first.transcript) == ("Ross", "It\u2019s \u2026 you, here.")
    assert (first.start, first.end) == (None, None)


def test_every_irregularity_is_named(root: Path) -> None:
    result = meld.build(root)
    assert list(result.warnings) == [
        "train_dia125_utt3: cannot be decoded (issues 39 and 52 of the corpus); skipped",
        "1 row without a clip left out: dev_dia110_utt7",
        "1 clip cut wrongly by the times of the table, but kept: test_dia38_utt4 (305 s)",
    ]
    assert result.notes[0] == (
        "train 2 of 3 rows, dev 1 of 2 rows, test 2 of 2 rows; the tables are NOT equal to the published 9,989, 1,109 "
        "and 2,610 rows"
    )
    assert {
        "files not taken: 1 .mp4 (not named like dia0_utt0)",
        "files not taken: 1 .mp4 (in no folder of train, dev or test)",
        "files not taken: 1 .mp4 (no row in the table of its set)",
    } <= set(result.notes)


def test_classes_leave_out_others_or_keep_them_as_context(root: Path) -> None:
    assert [u.id for u in meld.build(root, ["joy"]).utterances] == ["train_dia0_utt0", "test_dia38_utt4"]
    kept = meld.build(root, ["joy"], context=True)
    assert [u.label for u in kept.utterances] == ["joy", "", "", "", "joy"]
    assert "3 utterances without a label, as context" in kept.notes


def test_an_old_table_in_windows_1252_is_read(root: Path) -> None:
    content = (HEADER + row(0, 0, "joy", text="It\u2019s")).encode("cp1252")
    (root / "train_sent_emo.csv").write_bytes(content)
    result = meld.build(root)
    assert result.utterances[0].transcript == "It\u2019s"
    assert result.notes[0].endswith("not UTF-8; read as Windows-1252")


def test_tables_and_clips_are_needed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(ManifestError, match=r"expected train_sent_emo.csv, .* got none"):
        meld.build(empty)
    (empty / "train_sent_emo.csv").write_text(HEADER + row(0, 0, "joy"))
    with pytest.raises(ManifestError, match="expected clips named like train_splits/dia0_utt0"):
        meld.build(empty)
    (empty / "train_sent_emo.csv").write_text("Utterance,Emotion\nOh.,joy\n")
    with pytest.raises(ManifestError, match="got no Speaker, Dialogue_ID, Utterance_ID"):
        meld.build(empty)
